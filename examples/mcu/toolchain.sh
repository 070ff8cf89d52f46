#!/usr/bin/env bash
# Unpacks a compiler with clippy and the sources of `core`, and QEMU for ARM and RISC-V into PREFIX, for machines where
# `rustup target add` or `apt-get install` is not possible. They are Debian's, of at least bookworm; nothing is
# installed.
# Usage: ./toolchain.sh PREFIX     and then `. PREFIX/env.sh`, for building and running firmware only
# Needs Rust and gcc. Does nothing if this same script has unpacked PREFIX before.
set -euo pipefail
prefix=${1:?usage: ./toolchain.sh PREFIX}
script=$(realpath "$0")
cmp -s "$script" "$prefix/unpacked-by" && exit
if ! command -v apt-get >/dev/null; then
    echo "toolchain.sh: needs Debian; elsewhere install rustup's targets, qemu-system-arm and qemu-system-riscv32" >&2
    exit 1
fi

oldest=$(awk -F '"' '$1 == "rust-version = " { print $2 }' "$(dirname "$0")/../../Cargo.toml")
packages=(rustc-web rust-web-clippy libstd-rust-web-dev rust-web-src qemu-system-arm qemu-system-misc)
# Debian's newer compilers come as security updates, which an old list of packages does not have.
candidate=$(apt-cache policy rustc-web | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }')
if dpkg --compare-versions "${candidate:-0}" lt "$oldest" || ! apt-cache show "${packages[@]}" >/dev/null 2>&1; then
    apt-get update
fi

rm -rf "$prefix"
mkdir -p "$prefix"/{bin,debs,root}
cd "$prefix"

# What is installed need not be unpacked; the simulation of an installation says what is missing.
missing=$(apt-get install --simulate --no-install-recommends "${packages[@]}" | awk '/^Inst/ { print $2 }')
(
    cd debs
    # shellcheck disable=SC2086
    apt-get download -qq -o APT::Sandbox::User=root $(printf '%s\n' "${packages[@]}" $missing | sort -u)
)
for deb in debs/*.deb; do
    dpkg -x "$deb" root
done
rm -r debs

# Only the wrapped programs see the libraries of the prefix, which may be moved.
libraries=$(gcc -print-multiarch)
wrap() {
    local name=$1 options=${2:-}
    cat >"bin/$name" <<END
#!/bin/sh
root=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")/root
LD_LIBRARY_PATH=\$root/usr/lib/$libraries:\$root/lib/$libraries exec "\$root/usr/bin/$name" $options "\$@"
END
    chmod +x "bin/$name"
}
wrap rustc
wrap rustdoc
wrap clippy-driver
wrap qemu-system-arm '-L "$root/usr/share/qemu"'
wrap qemu-system-riscv32 '-L "$root/usr/share/qemu"'

cat >env.sh <<'END'
# The linker is the one of the installed Rust. This compiler calls itself stable and needs leave to build `core`.
mcu_linker=$(echo "$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-lld)
mcu_bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/bin" && pwd)
export CARGO_TARGET_THUMBV6M_NONE_EABI_LINKER=$mcu_linker
export CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER=$mcu_linker
export CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER=$mcu_linker
export CARGO_TARGET_RISCV32IMC_UNKNOWN_NONE_ELF_LINKER=$mcu_linker
export CARGO_TARGET_RISCV32IMAC_UNKNOWN_NONE_ELF_LINKER=$mcu_linker
export PATH=$mcu_bin:$PATH RUSTC=$mcu_bin/rustc RUSTDOC=$mcu_bin/rustdoc RUSTC_BOOTSTRAP=1
unset mcu_bin mcu_linker
END
bin/rustc --version
bin/qemu-system-arm --version | head -n 1
# The last thing to be there: what has it, has all.
cp "$script" unpacked-by
