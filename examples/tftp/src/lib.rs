//! TFTP, the Trivial File Transfer Protocol (RFC 1350, with the options of RFC 2347 to 2349), on kpt: server and
//! client.
//!
//! The files, from the bottom up: `options` and `packet` are the protocol as bytes, `netascii` and `content` a file as
//! blocks, `rules` and `transfer` one side of a transfer as a state machine. They use no network and read no clock.
//! `folder` are the files of a server, `session` a transfer with its socket, `server` and `client` the hooks.

#![forbid(unsafe_code)]

pub mod client;
pub mod content;
pub mod folder;
mod netascii;
pub mod options;
pub mod packet;
mod rules;
pub mod server;
pub mod session;
pub mod transfer;
