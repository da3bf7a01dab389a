//! Tests how permits are shared while hostile runs never end.

use uuid::Uuid;

use super::*;

/// Like the host's own: 256 runs in a pool of 1,000 slots.
const HOST: Capacity = Capacity { slots: 1_000, runs: 256, waiting: 256, keep_free: true };
/// Like the CPU of a machine with two cores.
const CPU: Capacity = Capacity { slots: 2, runs: 2, waiting: 1_000, keep_free: false };

fn lane(connector: &str, connection: u128, call: Call) -> Lane {
    let connector = connector.parse().unwrap();
    Lane { connector, connection: ConnectionId(Uuid::from_u128(connection)), call }
}

fn request(lane: Lane, slots: u32) -> Request {
    Request { lane, slots, runs_max: 32 }
}

fn granted(asked: Admission) -> Option<Permit> {
    match asked {
        Admission::Granted(permit) => Some(permit),
        Admission::Waiting(_) | Admission::Full => None,
    }
}

fn waiting(asked: Admission) -> oneshot::Receiver<Permit> {
    match asked {
        Admission::Waiting(receiver) => receiver,
        Admission::Granted(_) | Admission::Full => panic!("granted or refused"),
    }
}

/// Takes all permits that are free.
fn take_all(permits: &Arc<Permits>, lane: &Lane, slots: u32) -> Vec<Permit> {
    let next = || granted(permits.ask(request(lane.clone(), slots)));
    std::iter::from_fn(next).collect()
}

#[test]
fn hung_runs_of_heavy_components_never_fill_the_pool() {
    let permits = Permits::new(HOST);
    let mut hung = Vec::new();
    for connector in ["a", "b", "c", "d"] {
        for connection in 0..8 {
            let lane = lane(
                connector,
                u128::from(connector.as_bytes()[0]) * 100 + connection,
                Call::Create,
            );
            hung.extend(take_all(&permits, &lane, 32));
        }
    }
    assert!(hung.len() > 20, "{} runs of 31", hung.len());
    assert!(granted(permits.ask(request(lane("good", 1, Call::Create), 32))).is_some());
}

#[test]
fn a_hung_connection_leaves_runs_to_other_connections_and_to_its_other_calls() {
    let permits = Permits::new(HOST);
    let hung = take_all(&permits, &lane("a", 1, Call::Count), 1);
    assert_eq!(hung.len(), 22, "two thirds of 32, at most");
    let creates = take_all(&permits, &lane("a", 1, Call::Create), 1);
    assert!(!creates.is_empty());
    assert!(take_all(&permits, &lane("a", 2, Call::Create), 1).len() > 3);
}

#[test]
fn each_kind_of_call_of_each_connection_has_one_run_whatever_its_connector_does() {
    let permits = Permits::new(HOST);
    let mut hung = Vec::new();
    for connection in 0..60 {
        hung.extend(take_all(&permits, &lane("a", connection, Call::Create), 1));
    }
    assert!(hung.len() > 32, "one for each connection");
    for call in [Call::Create, Call::Find, Call::Count] {
        assert!(granted(permits.ask(request(lane("a", 100, call), 1))).is_some(), "{call:?}");
    }
    assert!(granted(permits.ask(request(lane("b", 200, Call::Create), 1))).is_some());
}

#[test]
fn one_lane_alone_gets_most_runs_of_its_connector() {
    for (runs_max, expected) in [(1, 1), (2, 2), (4, 3)] {
        let permits = Permits::new(HOST);
        let lane = lane("a", 1, Call::Create);
        let ask = || granted(permits.ask(Request { lane: lane.clone(), slots: 1, runs_max }));
        let held: Vec<_> = std::iter::from_fn(ask).collect();
        assert_eq!(held.len(), expected, "of {runs_max}");
    }
}

/// A good request that has to wait gets the next permit that becomes free, however many requests
/// wait before it, unless its connection was served just now.
#[test]
fn a_good_request_gets_the_next_permit_although_many_requests_wait() {
    let permits = Permits::new(CPU);
    let ask =
        |connector, connection| permits.ask(request(lane(connector, connection, Call::Create), 1));
    let mut running: Vec<_> = (0..2).filter_map(|_| granted(ask("a", 1))).collect();
    let mut floods: Vec<_> = (0..100).map(|n| waiting(ask("a", 1 + n % 3))).collect();
    floods.extend((0..100).map(|_| waiting(ask("b", 10))));
    for _ in 0..20 {
        // The other requests are served.
        for _ in 0..2 {
            running.remove(0);
            running.push(next(&mut floods));
        }
        let mut good = waiting(ask("good", 20));
        running.remove(0);
        let permit = good.try_recv().expect("the good request is next");
        assert_eq!(permit.permits_before, 0);
        drop(permit);
        running.push(next(&mut floods));
    }
}

/// The permit that one of these receivers got.
fn next(waiting: &mut Vec<oneshot::Receiver<Permit>>) -> Permit {
    let mut all = waiting.iter_mut().enumerate();
    let found = all.find_map(|(at, receiver)| Some((at, receiver.try_recv().ok()?)));
    let (at, permit) = found.expect("a permit that is free is handed over");
    waiting.remove(at);
    permit
}

#[test]
fn connections_and_calls_take_turns() {
    let permits = Permits::new(Capacity { slots: 1, runs: 1, waiting: 10, keep_free: false });
    let lanes = [
        lane("a", 1, Call::Create),
        lane("a", 1, Call::Count),
        lane("a", 2, Call::Create),
        lane("b", 3, Call::Create),
    ];
    let running = granted(permits.ask(request(lanes[0].clone(), 1)));
    let mut queue = Vec::new();
    for lane in &lanes {
        queue.extend((0..3).map(|_| waiting(permits.ask(request(lane.clone(), 1)))));
    }
    drop(running);
    let mut order = Vec::new();
    while !queue.is_empty() {
        let permit = next(&mut queue);
        order.extend(lanes.iter().position(|lane| *lane == permit.lane));
    }
    assert_eq!(order, [3, 2, 3, 1, 3, 2, 0, 2, 1, 0, 1, 0]);
}

#[test]
fn a_request_that_gives_up_holds_nothing_and_too_many_requests_are_refused() {
    let permits = Permits::new(Capacity { slots: 1, runs: 1, waiting: 2, keep_free: true });
    let ask = |connection| permits.ask(request(lane("a", connection, Call::Create), 1));
    let running = granted(ask(1)).unwrap();
    let (gone, kept) = (waiting(ask(1)), waiting(ask(1)));
    assert!(matches!(ask(1), Admission::Full));
    drop(gone);
    let late = waiting(ask(1));
    drop(running);
    drop(kept); // It has received a permit, which its drop gives back.
    drop(late);
    assert_eq!(permits.state.lock().in_use.runs, 0);
    assert!(granted(ask(2)).is_some());
    assert!(permits.state.lock().groups.is_empty());
}
