//! Commands on the server as a whole.

use super::{Asked, Refusal, is_option};
use crate::glob;
use crate::info;
use crate::server::Server;

pub fn info(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    let wanted = asked.args.get(1).map(|section| String::from_utf8_lossy(section).to_lowercase());
    let text = info::text(server, asked.now, wanted.as_deref());
    asked.reply.bulk(text.as_bytes());
    Ok(())
}

/// `CONFIG GET pattern...`; what is given on the command line stays.
pub fn config(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    let (word, count) = (&asked.args[1], asked.args.len());
    if !is_option(word, "GET") {
        let word = String::from_utf8_lossy(word).into_owned();
        return Err(Refusal::UnknownSubcommand("CONFIG", word));
    }
    if count < 3 {
        return Err(Refusal::Arity("config|get".into()));
    }
    let patterns: Vec<Vec<u8>> = asked.args.iter_from(2).map(<[u8]>::to_ascii_lowercase).collect();
    let is_wanted = |name: &str| patterns.iter().any(|glob| glob::matches(glob, name.as_bytes()));
    let given = server.config.given.iter().filter(|(name, _)| is_wanted(name));
    let found: Vec<_> = given.collect();
    asked.reply.array(2 * found.len());
    for (name, value) in found {
        asked.reply.bulk(name.as_bytes());
        asked.reply.bulk(value.as_bytes());
    }
    Ok(())
}

pub fn save(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    server.save_now(asked.now).map_err(Refusal::Other)?;
    asked.reply.ok();
    Ok(())
}

/// `BGSAVE`, or `BGSAVE SCHEDULE`, which is the same here: there is no other background work to wait for.
pub fn bgsave(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    let is_known = asked.args.get(1).is_none_or(|option| is_option(option, "SCHEDULE"));
    if !is_known || asked.args.len() > 2 {
        return Err(Refusal::Syntax);
    }
    server.start_save(asked.threads.reborrow()).map_err(Refusal::Other)?;
    asked.reply.simple("Background saving started");
    Ok(())
}

pub fn lastsave(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    asked.reply.integer((server.saves.last_save / 1000) as i64);
    Ok(())
}

/// `SHUTDOWN`, `SHUTDOWN SAVE` or `SHUTDOWN NOSAVE`. There is a reply only if the server goes on.
pub fn shutdown(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    let is_saved = match asked.args.get(1) {
        None => true,
        Some(option) if is_option(option, "SAVE") => true,
        Some(option) if is_option(option, "NOSAVE") => false,
        Some(_) => return Err(Refusal::Syntax),
    };
    if asked.args.len() > 2 {
        return Err(Refusal::Syntax);
    }
    if is_saved {
        let saved = server.save_last(asked.threads.reborrow());
        let text = "Errors trying to SHUTDOWN. Check logs.";
        saved.map_err(|_| Refusal::Other(text.into()))?;
    } else {
        server.give_up_save(asked.threads.reborrow());
    }
    log::info!("ends, as SHUTDOWN says");
    server.clients.get_mut(asked.client).is_leaving = true;
    asked.threads.stop();
    Ok(())
}
