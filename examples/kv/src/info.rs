//! The text of INFO, with the names of Redis.

use std::fmt::Write;
use std::process;

use kpt_std::Instant;

use crate::outside::Outside;
use crate::server::Server;

/// Appends the fields of a section.
type Section = fn(&Server, Instant, &mut String);

/// Returns all sections, or the one of that name; none is no error.
pub fn text(server: &Server, now: Instant, wanted: Option<&str>) -> String {
    let sections: [(&str, Section); 6] = [
        ("Server", about_server),
        ("Clients", about_clients),
        ("Memory", about_memory),
        ("Persistence", about_persistence),
        ("Stats", about_stats),
        ("Keyspace", about_keyspace),
    ];
    let is_wanted = |name: &str| match wanted {
        None | Some("all" | "default" | "everything") => true,
        Some(wanted) => wanted.eq_ignore_ascii_case(name),
    };
    let mut text = String::new();
    for (name, about) in sections.into_iter().filter(|(name, _)| is_wanted(name)) {
        if !text.is_empty() {
            text += "\r\n";
        }
        let _ = write!(text, "# {name}\r\n");
        about(server, now, &mut text);
    }
    text
}

/// Appends a line for each field.
macro_rules! fields {
    ($text:ident, $($name:ident: $value:expr,)*) => {
        $( let _ = write!($text, concat!(stringify!($name), ":{}\r\n"), $value); )*
    };
}

fn about_server(server: &Server, now: Instant, text: &mut String) {
    fields! { text,
        redis_version: env!("CARGO_PKG_VERSION"),
        redis_mode: "standalone",
        process_id: Outside::Process.number(|| process::id().into()),
        tcp_port: server.config.port,
        uptime_in_seconds: now.saturating_duration_since(server.started).as_secs(),
    }
}

fn about_clients(server: &Server, _: Instant, text: &mut String) {
    fields! { text,
        connected_clients: server.clients.len(),
        maxclients: server.config.maxclients,
    }
}

fn about_memory(server: &Server, _: Instant, text: &mut String) {
    fields! { text,
        used_memory: server.used_memory(),
        used_memory_dataset: server.store.bytes(),
        mem_clients_normal: server.client_bytes,
        maxmemory: server.config.maxmemory,
        maxmemory_policy: "noeviction",
    }
}

fn about_persistence(server: &Server, now: Instant, text: &mut String) {
    let saves = &server.saves;
    let running = saves.running();
    let seconds = |since| now.saturating_duration_since(since).as_secs() as i64;
    let last_seconds = saves.last_duration.map_or(-1, |duration| duration.as_secs() as i64);
    fields! { text,
        loading: 0,
        rdb_changes_since_last_save: server.store.counts.changes - saves.saved_changes,
        rdb_bgsave_in_progress: u8::from(running.is_some()),
        rdb_last_save_time: saves.last_save / 1000,
        rdb_last_bgsave_status: if saves.last_error.is_none() { "ok" } else { "err" },
        rdb_last_bgsave_error: saves.last_error.as_deref().unwrap_or_default().escape_debug(),
        rdb_last_bgsave_time_sec: last_seconds,
        rdb_current_bgsave_time_sec: running.map_or(-1, |running| seconds(running.started)),
        current_save_keys_processed: running.map_or(0, |running| running.keys),
        current_save_keys_total: running.map_or(0, |_| server.store.len()),
    }
}

fn about_stats(server: &Server, _: Instant, text: &mut String) {
    fields! { text,
        total_connections_received: server.counts.connections,
        total_commands_processed: server.counts.commands,
        rejected_connections: server.counts.rejected,
        client_output_buffer_limit_disconnections: server.counts.dropped,
        keyspace_hits: server.store.counts.hits,
        keyspace_misses: server.store.counts.misses,
        expired_keys: server.store.counts.expired,
        evicted_keys: 0,
    }
}

fn about_keyspace(server: &Server, _: Instant, text: &mut String) {
    if server.store.len() > 0 {
        let (keys, expires) = (server.store.len(), server.store.expiring());
        let _ = write!(text, "db0:keys={keys},expires={expires},avg_ttl=0\r\n");
    }
}
