//! Commands on values.

use std::io::Write;
use std::time::Duration;

use kpt_std::Instant;

use super::{Call, Refusal, integer, is_option};

pub fn get(call: &mut Call) -> Result<(), Refusal> {
    let item = call.store.get(&call.args[1], call.now);
    call.reply.bulk_or_null(item.map(|item| &item.value[..]));
    Ok(())
}

pub fn mget(call: &mut Call) -> Result<(), Refusal> {
    call.reply.array(call.args.len() - 1);
    for key in call.args.iter_from(1) {
        let item = call.store.get(key, call.now);
        call.reply.bulk_or_null(item.map(|item| &item.value[..]));
    }
    Ok(())
}

pub fn getdel(call: &mut Call) -> Result<(), Refusal> {
    let item = call.store.remove(&call.args[1], call.now);
    call.reply.bulk_or_null(item.as_ref().map(|item| &item.value[..]));
    Ok(())
}

pub fn strlen(call: &mut Call) -> Result<(), Refusal> {
    let length = call.store.get(&call.args[1], call.now).map_or(0, |item| item.value.len());
    call.reply.integer(length as i64);
    Ok(())
}

/// What SET is asked for besides key and value.
#[derive(Debug, Default)]
struct SetOptions {
    /// `Some(false)`: only a key that is not there; `Some(true)`: only one that is.
    must_exist: Option<bool>,
    /// How long it lives.
    life: Option<Duration>,
    keeps_deadline: bool,
    returns_old: bool,
}

impl SetOptions {
    fn parse(call: &Call) -> Result<Self, Refusal> {
        let mut options = Self::default();
        let mut given = None;
        let mut args = call.args.iter_from(3);
        while let Some(arg) = args.next() {
            let has_life = given.is_some() || options.keeps_deadline;
            let unit = [("EX", 1000), ("PX", 1)].into_iter().find(|(name, _)| is_option(arg, name));
            if let Some((_, millis)) = unit {
                let amount = args.next().filter(|_| !has_life).ok_or(Refusal::Syntax)?;
                given = Some((amount, millis));
            } else if is_option(arg, "NX") && options.must_exist != Some(true) {
                options.must_exist = Some(false);
            } else if is_option(arg, "XX") && options.must_exist != Some(false) {
                options.must_exist = Some(true);
            } else if is_option(arg, "KEEPTTL") && given.is_none() {
                options.keeps_deadline = true;
            } else if is_option(arg, "GET") {
                options.returns_old = true;
            } else {
                return Err(Refusal::Syntax);
            }
        }
        if let Some((amount, unit)) = given {
            let amount = integer(amount)?;
            let life = super::keys::millis(amount, unit).filter(|&millis| millis > 0);
            options.life =
                Some(Duration::from_millis(life.ok_or(Refusal::ExpireTime("set"))? as u64));
        }
        Ok(options)
    }
}

pub fn set(call: &mut Call) -> Result<(), Refusal> {
    if call.args.len() == 3 {
        call.store.set(&call.args[1], &call.args[2], Instant::NEVER, call.now);
        call.reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(call)?;
    let (store, now) = (&mut *call.store, call.now);
    let (key, value) = (&call.args[1], &call.args[2]);
    let is_at_limit = store.expiring() >= call.limits.expiring_keys;
    let old = store.peek(key, now);
    let old_deadline = old.map_or(Instant::NEVER, |item| item.deadline);
    let is_wanted = options.must_exist.is_none_or(|must| must == old.is_some());
    if is_wanted && options.life.is_some() && is_at_limit && old_deadline == Instant::NEVER {
        return Err(Refusal::TooManyExpiring);
    }
    match (options.returns_old, is_wanted) {
        (true, _) => call.reply.bulk_or_null(old.map(|item| &item.value[..])),
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.bulk_or_null(None),
    }
    if is_wanted {
        let deadline = match options.life {
            Some(life) => now.saturating_add(life),
            None if options.keeps_deadline => old_deadline,
            None => Instant::NEVER,
        };
        store.set(key, value, deadline, now);
    }
    Ok(())
}

pub fn mset(call: &mut Call) -> Result<(), Refusal> {
    if call.args.len().is_multiple_of(2) {
        return Err(Refusal::Arity("mset".into()));
    }
    let mut args = call.args.iter_from(1);
    while let (Some(key), Some(value)) = (args.next(), args.next()) {
        call.store.set(key, value, Instant::NEVER, call.now);
    }
    call.reply.ok();
    Ok(())
}

pub fn append(call: &mut Call) -> Result<(), Refusal> {
    let (key, more) = (&call.args[1], &call.args[2]);
    let length = call.store.peek(key, call.now).map_or(0, |item| item.value.len());
    if length + more.len() > call.limits.longest_value {
        return Err(Refusal::ValueTooLong);
    }
    let length = call.store.update(key, call.now, |value| {
        value.extend_from_slice(more);
        value.len()
    });
    call.reply.integer(length as i64);
    Ok(())
}

pub fn incr(call: &mut Call) -> Result<(), Refusal> {
    add(call, 1)
}

pub fn decr(call: &mut Call) -> Result<(), Refusal> {
    add(call, -1)
}

pub fn incrby(call: &mut Call) -> Result<(), Refusal> {
    let amount = integer(&call.args[2])?;
    add(call, amount)
}

pub fn decrby(call: &mut Call) -> Result<(), Refusal> {
    let amount = integer(&call.args[2])?;
    add(call, amount.checked_neg().ok_or(Refusal::DecrementOverflow)?)
}

fn add(call: &mut Call, amount: i64) -> Result<(), Refusal> {
    let key = &call.args[1];
    let number = call.store.peek(key, call.now).map_or(Ok(0), |item| integer(&item.value))?;
    let sum = number.checked_add(amount).ok_or(Refusal::Overflow)?;
    call.store.update(key, call.now, |value| {
        value.clear();
        let _ = write!(value, "{sum}");
    });
    call.reply.integer(sum);
    Ok(())
}
