//! Commands on keys, whatever their values.

use std::time::Duration;

use kpt_std::Instant;

use super::{Call, Refusal, integer, is_option};
use crate::glob;

/// No key lives longer than 30,000 years.
const LONGEST_LIFE_MILLIS: i64 = 1_000_000_000_000_000;

/// How many slots SCAN looks at unless it is told.
const SCAN_COUNT: usize = 10;

pub fn del(call: &mut Call) -> Result<(), Refusal> {
    let (store, now) = (&mut *call.store, call.now);
    let removed = call.args.iter_from(1).filter(|key| store.remove(key, now).is_some()).count();
    call.reply.integer(removed as i64);
    Ok(())
}

pub fn exists(call: &mut Call) -> Result<(), Refusal> {
    let (store, now) = (&mut *call.store, call.now);
    let found = call.args.iter_from(1).filter(|key| store.get(key, now).is_some()).count();
    call.reply.integer(found as i64);
    Ok(())
}

pub fn expire(call: &mut Call) -> Result<(), Refusal> {
    expire_after(call, 1000, "expire")
}

pub fn pexpire(call: &mut Call) -> Result<(), Refusal> {
    expire_after(call, 1, "pexpire")
}

fn expire_after(call: &mut Call, unit: i64, name: &'static str) -> Result<(), Refusal> {
    let (key, now) = (&call.args[1], call.now);
    let life = millis(integer(&call.args[2])?, unit).ok_or(Refusal::ExpireTime(name))?;
    let is_at_limit = call.store.expiring() >= call.limits.expiring_keys;
    let is_there = match u64::try_from(life) {
        Ok(life) if life > 0 => {
            let is_new = call.store.peek(key, now).is_some_and(|item| !item.is_expiring());
            if is_new && is_at_limit {
                return Err(Refusal::TooManyExpiring);
            }
            call.store.set_deadline(key, now.saturating_add(Duration::from_millis(life)), now)
        }
        _ => call.store.remove(key, now).is_some(),
    };
    call.reply.integer(is_there.into());
    Ok(())
}

/// Returns `amount` units of `unit` milliseconds in milliseconds, unless that is too long.
pub fn millis(amount: i64, unit: i64) -> Option<i64> {
    let millis = amount.checked_mul(unit)?;
    (millis.unsigned_abs() <= LONGEST_LIFE_MILLIS as u64).then_some(millis)
}

pub fn persist(call: &mut Call) -> Result<(), Refusal> {
    let (key, now) = (&call.args[1], call.now);
    let is_expiring = call.store.peek(key, now).is_some_and(|item| item.is_expiring());
    if is_expiring {
        call.store.set_deadline(key, Instant::NEVER, now);
    }
    call.reply.integer(is_expiring.into());
    Ok(())
}

pub fn ttl(call: &mut Call) -> Result<(), Refusal> {
    let left = left(call);
    call.reply.integer(left.map_or_else(|code| code, |left| (left + 500) / 1000));
    Ok(())
}

pub fn pttl(call: &mut Call) -> Result<(), Refusal> {
    let left = left(call);
    call.reply.integer(left.unwrap_or_else(|code| code));
    Ok(())
}

/// Returns how many milliseconds the key has left; as an error what is said if it is not there, or does not end.
fn left(call: &mut Call) -> Result<i64, i64> {
    let item = call.store.get(&call.args[1], call.now).ok_or(-2_i64)?;
    if !item.is_expiring() {
        return Err(-1);
    }
    let micros = item.deadline.saturating_duration_since(call.now).as_micros() as i64;
    Ok((micros + 999) / 1000)
}

pub fn type_of(call: &mut Call) -> Result<(), Refusal> {
    let item = call.store.get(&call.args[1], call.now);
    call.reply.simple(if item.is_some() { "string" } else { "none" });
    Ok(())
}

pub fn dbsize(call: &mut Call) -> Result<(), Refusal> {
    call.reply.integer(call.store.len() as i64);
    Ok(())
}

pub fn flushall(call: &mut Call) -> Result<(), Refusal> {
    let is_known = |option: &[u8]| is_option(option, "SYNC") || is_option(option, "ASYNC");
    if call.args.len() > 2 || call.args.get(1).is_some_and(|option| !is_known(option)) {
        return Err(Refusal::Syntax);
    }
    call.store.clear();
    call.reply.ok();
    Ok(())
}

pub fn keys(call: &mut Call) -> Result<(), Refusal> {
    let (pattern, now) = (&call.args[1], call.now);
    let keys: Vec<&[u8]> = call
        .store
        .items(0..usize::MAX)
        .filter(|item| item.deadline > now && glob::matches(pattern, &item.key))
        .map(|item| &item.key[..])
        .collect();
    call.reply.array(keys.len());
    keys.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

/// The cursor is the number of the slot to go on with. A key stays in its slot, so that one which is there from the first
/// call to the last is returned exactly once.
pub fn scan(call: &mut Call) -> Result<(), Refusal> {
    let cursor = std::str::from_utf8(&call.args[1]).ok().and_then(|text| text.parse().ok());
    let cursor: usize = cursor.ok_or(Refusal::InvalidCursor)?;
    let (mut pattern, mut count, mut is_of_type) = (&b"*"[..], SCAN_COUNT, true);
    let mut args = call.args.iter_from(2);
    while let Some(option) = args.next() {
        let value = args.next().ok_or(Refusal::Syntax)?;
        if is_option(option, "MATCH") {
            pattern = value;
        } else if is_option(option, "COUNT") {
            let wanted = integer(value)?;
            count = usize::try_from(wanted).ok().filter(|&n| n > 0).ok_or(Refusal::Syntax)?;
        } else if is_option(option, "TYPE") {
            is_of_type = is_option(value, "string");
        } else {
            return Err(Refusal::Syntax);
        }
    }
    let end = cursor.saturating_add(count);
    let keys: Vec<&[u8]> = call
        .store
        .items(cursor..end)
        .filter(|item| item.deadline > call.now && is_of_type && glob::matches(pattern, &item.key))
        .map(|item| &item.key[..])
        .collect();
    call.reply.array(2);
    let next = if end < call.store.slots() { end } else { 0 };
    call.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    call.reply.array(keys.len());
    keys.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}
