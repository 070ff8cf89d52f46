//! What a supervisor does, as stories.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// All orders at a moment at which a timer runs.
fn orders(supervisor: &mut Supervisor, now: Instant) -> Vec<Order> {
    supervisor.on_time(now);
    std::iter::from_fn(|| supervisor.next(now)).collect()
}

/// A supervisor whose children are all ready at the moment 0.
fn running(mut supervisor: Supervisor) -> Supervisor {
    for child in 0..supervisor.children.len() {
        assert_eq!(orders(&mut supervisor, at(0)), [Order::Start(child)]);
        supervisor.on_ready(child, at(0));
    }
    assert_eq!(orders(&mut supervisor, at(0)), []);
    supervisor
}

fn three(strategy: Strategy) -> Supervisor {
    let spec = ChildSpec::permanent().grace(SECOND);
    Supervisor::new(strategy).back_off(SECOND, 4 * SECOND).child(spec).child(spec).child(spec)
}

fn stop(child: usize) -> Order {
    Order::Stop { child, grace: SECOND }
}

#[test]
fn children_start_in_order_and_stop_in_reverse() {
    let mut supervisor = running(three(Strategy::OneForOne));
    supervisor.stop();
    for child in [2, 1, 0] {
        assert_eq!(orders(&mut supervisor, at(1)), [stop(child)]);
        assert!(!supervisor.is_over());
        supervisor.on_exit(child, true, at(1));
    }
    assert_eq!(orders(&mut supervisor, at(1)), []);
    assert!(
        supervisor.is_over() && supervisor.given_up().is_none() && supervisor.deadline().is_none()
    );
}

#[test]
fn one_for_one_restarts_that_child_alone() {
    let mut supervisor = running(three(Strategy::OneForOne));
    supervisor.on_exit(0, false, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), []);
    assert_eq!(supervisor.deadline(), Some(at(2)));
    // Nobody waits for one that was ready before.
    supervisor.on_exit(2, false, at(1));
    assert_eq!(orders(&mut supervisor, at(2)), [Order::Start(0), Order::Start(2)]);
}

#[test]
fn rest_for_one_restarts_those_after_it() {
    let mut supervisor = running(three(Strategy::RestForOne));
    supervisor.on_exit(1, false, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), [stop(2)]);
    supervisor.on_exit(2, true, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), []);
    assert_eq!(orders(&mut supervisor, at(2)), [Order::Start(1)]);
    supervisor.on_ready(1, at(3));
    assert_eq!(orders(&mut supervisor, at(3)), [Order::Start(2)]);
}

#[test]
fn one_for_all_restarts_all_of_them_after_the_pause() {
    let mut supervisor = running(three(Strategy::OneForAll));
    supervisor.on_exit(1, false, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), [stop(2)]);
    // One that dies while it is being stopped is no further failure.
    supervisor.on_exit(0, false, at(1));
    assert_eq!(orders(&mut supervisor, at(2)), [Order::Kill(2)]);
    supervisor.on_exit(2, false, at(2));
    assert_eq!(orders(&mut supervisor, at(2)), [Order::Start(0)]);
}

#[test]
fn kinds_of_children_fail_by_different_exits() {
    for (spec, is_normal, is_restarted) in [
        (ChildSpec::permanent(), true, true),
        (ChildSpec::permanent(), false, true),
        (ChildSpec::transient(), true, false),
        (ChildSpec::transient(), false, true),
        (ChildSpec::temporary(), true, false),
        (ChildSpec::temporary(), false, false),
    ] {
        let mut supervisor = running(Supervisor::new(Strategy::OneForAll).child(spec));
        supervisor.on_exit(0, is_normal, at(1));
        let order = is_restarted.then_some(Order::Start(0));
        assert_eq!(supervisor.next(at(2)), order, "{spec:?}, {is_normal}");
        assert_eq!(supervisor.is_over(), !is_restarted);
    }
}

/// As in Erlang.
#[test]
fn a_group_takes_along_what_has_finished_but_nothing_temporary() {
    let mut supervisor = Supervisor::new(Strategy::OneForAll)
        .back_off(Duration::ZERO, Duration::ZERO)
        .child(ChildSpec::permanent())
        .child(ChildSpec::transient())
        .child(ChildSpec::temporary().grace(SECOND));
    supervisor = running(supervisor);
    supervisor.on_exit(1, true, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), []);
    supervisor.on_exit(0, false, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), [stop(2)]);
    supervisor.on_exit(2, true, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), [Order::Start(0)]);
    supervisor.on_ready(0, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), [Order::Start(1)]);
    supervisor.on_ready(1, at(1));
    assert_eq!(orders(&mut supervisor, at(1)), []);
}

#[test]
fn it_gives_up_after_too_many_restarts_in_a_period() {
    let supervisor = three(Strategy::OneForOne).back_off(Duration::ZERO, Duration::ZERO);
    let mut supervisor = running(supervisor.intensity(2, 10 * SECOND));
    for now in [1, 11, 12] {
        supervisor.on_exit(1, false, at(now));
        assert_eq!(orders(&mut supervisor, at(now)), [Order::Start(1)]);
        supervisor.on_ready(1, at(now));
    }
    supervisor.on_exit(0, false, at(13));
    assert_eq!(supervisor.given_up(), Some(0));
    assert_eq!(orders(&mut supervisor, at(13)), [stop(2)]);
    supervisor.on_exit(2, true, at(13));
    assert_eq!(orders(&mut supervisor, at(13)), [stop(1)]);
    supervisor.on_exit(1, true, at(13));
    assert!(supervisor.is_over());
}

#[test]
fn pauses_double_and_begin_anew_after_a_good_time() {
    let spec = ChildSpec::permanent();
    let mut supervisor = Supervisor::new(Strategy::OneForOne)
        .intensity(100, 100 * SECOND)
        .back_off(SECOND, 4 * SECOND)
        .child(spec);
    supervisor = running(supervisor);
    let mut now = at(1);
    for (runs, pause) in [(1, 1), (1, 2), (99, 4), (1, 4), (100, 1), (1, 2)] {
        now = now + runs * SECOND;
        supervisor.on_exit(0, false, now);
        assert_eq!(supervisor.deadline(), Some(now + pause * SECOND), "{runs} {pause}");
        now = now + pause * SECOND;
        assert_eq!(orders(&mut supervisor, now), [Order::Start(0)]);
        supervisor.on_ready(0, now);
    }
}

#[test]
fn what_hangs_is_killed_and_restarted() {
    let spec = ChildSpec::permanent().ready_within(3 * SECOND).heartbeat(2 * SECOND);
    let mut supervisor =
        Supervisor::new(Strategy::OneForOne).back_off(Duration::ZERO, Duration::ZERO).child(spec);
    assert_eq!(orders(&mut supervisor, at(0)), [Order::Start(0)]);
    assert_eq!(supervisor.deadline(), Some(at(3)));
    assert_eq!(orders(&mut supervisor, at(3)), [Order::Kill(0)]);
    assert_eq!((supervisor.deadline(), orders(&mut supervisor, at(9)).len()), (None, 0));
    supervisor.on_exit(0, false, at(9));
    assert_eq!(orders(&mut supervisor, at(9)), [Order::Start(0)]);
    supervisor.on_heartbeat(0, at(9)); // Not before it is ready.
    supervisor.on_ready(0, at(10));
    assert_eq!(supervisor.deadline(), Some(at(12)));
    supervisor.on_heartbeat(0, at(11));
    assert_eq!(orders(&mut supervisor, at(12)), []);
    assert_eq!(orders(&mut supervisor, at(13)), [Order::Kill(0)]);
    supervisor.on_heartbeat(0, at(13)); // Too late.
    assert_eq!(supervisor.deadline(), None);
}

/// A loop is late. The first of two heartbeats that have come in the meantime must not have the other child killed.
#[test]
fn nobody_hangs_before_all_that_has_come_was_reported() {
    let spec = ChildSpec::permanent().heartbeat(2 * SECOND);
    let mut supervisor = running(Supervisor::new(Strategy::OneForOne).child(spec).child(spec));
    supervisor.on_heartbeat(0, at(3));
    assert_eq!(supervisor.next(at(3)), None);
    assert_eq!(supervisor.deadline(), Some(at(2)));
    supervisor.on_heartbeat(1, at(3));
    assert_eq!(orders(&mut supervisor, at(3)), []);
    assert_eq!(orders(&mut supervisor, at(5)), [Order::Kill(0), Order::Kill(1)]);
}

/// All processes were stopped, or the machine slept: what the children have not done in that time says nothing.
#[test]
fn r55_where_all_stood_still_nobody_hangs() {
    let spec = ChildSpec::permanent().heartbeat(4 * SECOND).grace(4 * SECOND);
    let mut supervisor = running(Supervisor::new(Strategy::OneForOne).child(spec).child(spec));
    assert_eq!(supervisor.deadline(), Some(at(4)));
    assert_eq!(orders(&mut supervisor, at(60)), []);
    assert_eq!(supervisor.deadline(), Some(at(64)));
    supervisor.on_heartbeat(0, at(61));
    // Once, and not again.
    assert_eq!(orders(&mut supervisor, at(90)), [Order::Kill(1)]);
    assert_eq!(supervisor.deadline(), Some(at(94)), "the other one is spared then");
    supervisor.on_exit(1, false, at(90));
    // A loop that is a little late spares nobody.
    assert_eq!(orders(&mut supervisor, at(95))[0], Order::Kill(0));
    let mut supervisor = running(Supervisor::new(Strategy::OneForOne).child(spec));
    supervisor.stop();
    assert_eq!(supervisor.next(at(0)), Some(Order::Stop { child: 0, grace: 4 * SECOND }));
    assert_eq!(orders(&mut supervisor, at(60)), []);
    assert_eq!(orders(&mut supervisor, at(64)), [Order::Kill(0)]);
}

#[test]
fn what_can_not_be_is_ignored() {
    let mut supervisor = three(Strategy::OneForAll);
    supervisor.on_exit(0, false, at(0));
    supervisor.on_ready(1, at(0));
    supervisor.on_heartbeat(2, at(0));
    for child in [3, usize::MAX] {
        supervisor.on_exit(child, false, at(0));
        supervisor.on_ready(child, at(0));
        supervisor.on_heartbeat(child, at(0));
    }
    supervisor = running(supervisor);
    supervisor.on_ready(0, at(100));
    assert_eq!(orders(&mut supervisor, at(100)), []);
    assert_eq!(supervisor.deadline(), None);
    assert!(Supervisor::new(Strategy::OneForOne).is_over());
}
