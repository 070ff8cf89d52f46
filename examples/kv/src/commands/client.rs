//! CLIENT and its subcommands.

use std::fmt::Write;

use super::{Asked, Refusal, integer, is_option};
use crate::client::Client;
use crate::server::Server;

pub fn client(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    let (word, count) = (&asked.args[1], asked.args.len());
    let is = |name, least| is_option(word, name) && count >= least;
    if is("SETNAME", 3) && count == 3 {
        let name = &asked.args[2];
        if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
            let text = "Client names cannot contain spaces, newlines or special characters.";
            return Err(Refusal::Other(text.into()));
        }
        server.clients.get_mut(asked.client).name = name.into();
        asked.reply.ok();
    } else if is("GETNAME", 2) && count == 2 {
        let name = &server.clients.get_mut(asked.client).name;
        asked.reply.bulk_or_null(Some(&name[..]).filter(|name| !name.is_empty()));
    } else if is("ID", 2) && count == 2 {
        asked.reply.integer(server.clients.get_mut(asked.client).id as i64);
    } else if is("SETINFO", 4) && count == 4 {
        asked.reply.ok(); // Which library it uses makes no difference.
    } else if is("LIST", 2) && count == 2 {
        let mut list = String::new();
        for client in server.clients.iter() {
            describe(client, asked, &mut list);
        }
        asked.reply.bulk(list.as_bytes());
    } else if is("KILL", 3) {
        return kill(server, asked);
    } else if ["SETNAME", "GETNAME", "ID", "SETINFO", "LIST", "KILL"].iter().any(|name| is(name, 0))
    {
        let name = String::from_utf8_lossy(word).to_lowercase();
        return Err(Refusal::Arity(format!("client|{name}")));
    } else {
        let word = String::from_utf8_lossy(word).into_owned();
        return Err(Refusal::UnknownSubcommand("CLIENT", word));
    }
    Ok(())
}

fn describe(client: &Client, asked: &Asked, list: &mut String) {
    let seconds = |since| asked.now.saturating_duration_since(since).as_secs();
    let _ = writeln!(
        list,
        "id={} addr={} name={} age={} idle={} flags=N db=0 qbuf={} omem={} cmd={}",
        client.id,
        client.address,
        client.name.escape_ascii(),
        seconds(client.since),
        seconds(client.last_active),
        client.unread_bytes(),
        client.unsent_bytes(),
        client.last_command.to_ascii_lowercase(),
    );
}

/// `CLIENT KILL address`, or `CLIENT KILL` with filters: `ID number`, `ADDR address`, `SKIPME yes|no`.
fn kill(server: &mut Server, asked: &mut Asked) -> Result<(), Refusal> {
    let own_id = server.clients.get_mut(asked.client).id;
    if asked.args.len() == 3 {
        let address = String::from_utf8_lossy(&asked.args[2]);
        let found = server.clients.iter().find(|client| client.address.to_string() == address);
        let id = found.map(|client| client.id).ok_or(Refusal::Other("No such client".into()))?;
        server.kill_clients(|client| client.id == id, own_id, asked.threads.reborrow());
        asked.reply.ok();
        return Ok(());
    }
    let (mut id, mut address, mut skips_me) = (None, None, true);
    let mut args = asked.args.iter_from(2);
    while let Some(filter) = args.next() {
        let value = args.next().ok_or(Refusal::Syntax)?;
        if is_option(filter, "ID") {
            let text = "client-id should be greater than 0";
            let wanted = integer(value).ok().filter(|&id| id > 0);
            id = Some(wanted.ok_or(Refusal::Other(text.into()))? as u64);
        } else if is_option(filter, "ADDR") {
            address = Some(String::from_utf8_lossy(value));
        } else if is_option(filter, "SKIPME") {
            skips_me = match value {
                value if is_option(value, "yes") => true,
                value if is_option(value, "no") => false,
                _ => return Err(Refusal::Syntax),
            };
        } else {
            return Err(Refusal::Syntax);
        }
    }
    let is_meant = |client: &Client| {
        id.is_none_or(|id| client.id == id)
            && address.as_ref().is_none_or(|address| client.address.to_string() == *address)
            && !(skips_me && client.id == own_id)
    };
    let killed = server.kill_clients(is_meant, own_id, asked.threads.reborrow());
    asked.reply.integer(killed as i64);
    Ok(())
}
