//! Commands on the connection, and on what the server can.

use super::{Asked, COMMANDS, Refusal, Run, integer, is_option};
use crate::server::Server;

pub fn ping(_: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    match asked.args.len() {
        1 => asked.reply.simple("PONG"),
        2 => asked.reply.bulk(&asked.args[1]),
        _ => return Err(Refusal::Arity("ping".into())),
    }
    Ok(())
}

pub fn echo(_: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    asked.reply.bulk(&asked.args[1]);
    Ok(())
}

/// There is one database, the first.
pub fn select(_: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    match i32::try_from(integer(&asked.args[1])?) {
        Ok(0) => asked.reply.ok(),
        Ok(_) => return Err(Refusal::DbIndex),
        Err(_) => return Err(Refusal::TooLarge),
    }
    Ok(())
}

pub fn quit(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    asked.reply.ok();
    server.clients.get_mut(asked.client).is_leaving = true;
    Ok(())
}

/// RESP2 is all that is spoken here: clients that ask for another version go on with this one, or say so.
pub fn hello(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    if let Some(version) = asked.args.get(1) {
        match integer(version) {
            Ok(2) if asked.args.len() == 2 => {}
            Ok(2) => return Err(Refusal::Syntax),
            Ok(_) => return Err(Refusal::Protocol),
            Err(_) => {
                let text = "Protocol version is not an integer or out of range";
                return Err(Refusal::Other(text.into()));
            }
        }
    }
    let id = server.clients.get_mut(asked.client).id;
    let reply = &mut asked.reply;
    reply.array(14);
    for (name, value) in [("server", "redis"), ("version", env!("CARGO_PKG_VERSION"))] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    for (name, value) in [("proto", 2), ("id", id as i64)] {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// `COMMAND`, `COMMAND COUNT`, and `COMMAND DOCS`, which knows nothing.
pub fn command(_: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    let reply = &mut asked.reply;
    match asked.args.get(1) {
        None => {
            reply.array(COMMANDS.len());
            for command in COMMANDS {
                reply.array(6);
                reply.bulk(command.name.to_ascii_lowercase().as_bytes());
                reply.integer(command.arity.into());
                let flags: &[&str] = match command.run {
                    Run::Keys(_) if command.grows => &["write", "denyoom"],
                    Run::Keys(_) => &[],
                    Run::Server(_) => &["admin"],
                };
                reply.array(flags.len());
                flags.iter().for_each(|flag| reply.simple(flag));
                (0..3).for_each(|_| reply.integer(0));
            }
        }
        Some(word) if is_option(word, "COUNT") => reply.integer(COMMANDS.len() as i64),
        Some(word) if is_option(word, "DOCS") => reply.array(0),
        Some(word) => {
            let word = String::from_utf8_lossy(word).into_owned();
            return Err(Refusal::UnknownSubcommand("COMMAND", word));
        }
    }
    Ok(())
}
