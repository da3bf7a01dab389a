//! Tests that permits are shared fairly, even if hostile runs never release their permits.

use uuid::Uuid;

use super::*;

/// A capacity like the capacity of a host: 256 runs in a pool of 1,000 slots.
const HOST_CAPACITY: Capacity =
    Capacity { slots: 1_000, runs: 256, waiting_max: 256, keeps_reserve: true };
/// A capacity like the capacity of a CPU with two cores.
const CPU_CAPACITY: Capacity =
    Capacity { slots: 2, runs: 2, waiting_max: 1_000, keeps_reserve: false };

fn lane(connector: &str, connection: u128, call: Call) -> Lane {
    let connector = connector.parse().unwrap();
    Lane { connector, connection: ConnectionId(Uuid::from_u128(connection)), call }
}

fn request(lane: Lane, slots: u32) -> PermitRequest {
    PermitRequest { lane, slots, runs_max: 32 }
}

fn granted_permit(answer: PermitAnswer) -> Option<Permit> {
    match answer {
        PermitAnswer::Granted(permit) => Some(permit),
        PermitAnswer::Waiting(_) | PermitAnswer::QueueFull => None,
    }
}

fn waiting_receiver(answer: PermitAnswer) -> oneshot::Receiver<Permit> {
    match answer {
        PermitAnswer::Waiting(receiver) => receiver,
        PermitAnswer::Granted(_) | PermitAnswer::QueueFull => panic!("granted or refused"),
    }
}

/// Requests permits for this lane until no permit is granted at once.
fn take_all_permits(permits: &Arc<Permits>, lane: &Lane, slots: u32) -> Vec<Permit> {
    let next = || granted_permit(permits.request_permit(request(lane.clone(), slots)));
    std::iter::from_fn(next).collect()
}

#[test]
fn hung_runs_that_need_many_slots_never_fill_the_pool() {
    let permits = Permits::new(HOST_CAPACITY);
    let mut hung = Vec::new();
    for connector in ["a", "b", "c", "d"] {
        for connection in 0..8 {
            let lane = lane(
                connector,
                u128::from(connector.as_bytes()[0]) * 100 + connection,
                Call::Create,
            );
            hung.extend(take_all_permits(&permits, &lane, 32));
        }
    }
    assert!(hung.len() > 20, "{} runs of 31", hung.len());
    assert!(
        granted_permit(permits.request_permit(request(lane("good", 1, Call::Create), 32)))
            .is_some()
    );
}

#[test]
fn a_connection_with_hung_runs_leaves_runs_to_other_connections_and_to_its_other_kinds_of_call() {
    let permits = Permits::new(HOST_CAPACITY);
    let hung = take_all_permits(&permits, &lane("a", 1, Call::Count), 1);
    assert_eq!(hung.len(), 22, "about two thirds of 32");
    let creates = take_all_permits(&permits, &lane("a", 1, Call::Create), 1);
    assert!(!creates.is_empty());
    assert!(take_all_permits(&permits, &lane("a", 2, Call::Create), 1).len() > 3);
}

#[test]
fn each_kind_of_call_of_each_connection_can_always_have_one_run() {
    let permits = Permits::new(HOST_CAPACITY);
    let mut hung = Vec::new();
    for connection in 0..60 {
        hung.extend(take_all_permits(&permits, &lane("a", connection, Call::Create), 1));
    }
    assert!(hung.len() > 32, "one for each connection");
    for call in [Call::Create, Call::Find, Call::Count] {
        assert!(
            granted_permit(permits.request_permit(request(lane("a", 100, call), 1))).is_some(),
            "{call:?}"
        );
    }
    assert!(
        granted_permit(permits.request_permit(request(lane("b", 200, Call::Create), 1))).is_some()
    );
}

#[test]
fn a_lane_without_competition_gets_most_runs_of_its_connector() {
    for (runs_max, expected) in [(1, 1), (2, 2), (4, 3)] {
        let permits = Permits::new(HOST_CAPACITY);
        let lane = lane("a", 1, Call::Create);
        let ask = || {
            granted_permit(permits.request_permit(PermitRequest {
                lane: lane.clone(),
                slots: 1,
                runs_max,
            }))
        };
        let permits_of_lane: Vec<_> = std::iter::from_fn(ask).collect();
        assert_eq!(permits_of_lane.len(), expected, "of {runs_max}");
    }
}

#[test]
fn a_request_of_an_idle_connection_gets_the_next_permit_although_many_requests_wait() {
    let permits = Permits::new(CPU_CAPACITY);
    let ask = |connector, connection| {
        permits.request_permit(request(lane(connector, connection, Call::Create), 1))
    };
    let mut running: Vec<_> = (0..2).filter_map(|_| granted_permit(ask("a", 1))).collect();
    let mut flood: Vec<_> = (0..100).map(|n| waiting_receiver(ask("a", 1 + n % 3))).collect();
    flood.extend((0..100).map(|_| waiting_receiver(ask("b", 10))));
    for _ in 0..20 {
        // Two requests of `flood` get permits.
        for _ in 0..2 {
            running.remove(0);
            running.push(take_granted_permit(&mut flood));
        }
        let mut good = waiting_receiver(ask("good", 20));
        running.remove(0);
        let permit = good.try_recv().expect("the good request is next");
        assert_eq!(permit.permits_before, 0);
        drop(permit);
        running.push(take_granted_permit(&mut flood));
    }
}

/// Finds a receiver to which a permit was sent. Removes the receiver, and returns the permit.
fn take_granted_permit(waiting: &mut Vec<oneshot::Receiver<Permit>>) -> Permit {
    let mut receivers = waiting.iter_mut().enumerate();
    let granted = receivers.find_map(|(index, receiver)| Some((index, receiver.try_recv().ok()?)));
    let (index, permit) = granted.expect("a free permit is granted to a waiting request");
    waiting.remove(index);
    permit
}

#[test]
fn permits_alternate_between_connectors_connections_and_kinds_of_call() {
    let permits =
        Permits::new(Capacity { slots: 1, runs: 1, waiting_max: 10, keeps_reserve: false });
    let lanes = [
        lane("a", 1, Call::Create),
        lane("a", 1, Call::Count),
        lane("a", 2, Call::Create),
        lane("b", 3, Call::Create),
    ];
    let running = granted_permit(permits.request_permit(request(lanes[0].clone(), 1)));
    let mut queue = Vec::new();
    for lane in &lanes {
        queue.extend(
            (0..3).map(|_| waiting_receiver(permits.request_permit(request(lane.clone(), 1)))),
        );
    }
    drop(running);
    let mut order = Vec::new();
    while !queue.is_empty() {
        let permit = take_granted_permit(&mut queue);
        order.extend(lanes.iter().position(|lane| *lane == permit.lane));
    }
    assert_eq!(order, [3, 2, 3, 1, 3, 2, 0, 2, 1, 0, 1, 0]);
}

#[test]
fn a_caller_that_gives_up_does_not_keep_a_permit_and_too_many_requests_are_refused() {
    let permits = Permits::new(Capacity { slots: 1, runs: 1, waiting_max: 2, keeps_reserve: true });
    let ask = |connection| permits.request_permit(request(lane("a", connection, Call::Create), 1));
    let running = granted_permit(ask(1)).unwrap();
    let (gives_up, stays) = (waiting_receiver(ask(1)), waiting_receiver(ask(1)));
    assert!(matches!(ask(1), PermitAnswer::QueueFull));
    drop(gives_up);
    let arrives_later = waiting_receiver(ask(1));
    drop(running);
    drop(stays); // The receiver contains a permit. Dropping the receiver releases this permit.
    drop(arrives_later);
    assert_eq!(permits.state.lock().in_use.runs, 0);
    assert!(granted_permit(ask(2)).is_some());
    assert!(permits.state.lock().groups.is_empty());
}

#[tokio::test]
async fn a_stopped_request_lets_the_next_one_begin_that_needs_fewer_slots() {
    let permits = Permits::new(CPU_CAPACITY);
    let lane = lane("a", 1, Call::Create);
    let _running = granted_permit(permits.request_permit(request(lane.clone(), 1))).unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async move { stopped.await.unwrap() };
    let wait = Duration::from_secs(60);
    let first = permits.wait_for_permit(request(lane.clone(), 2), wait, stopped);
    let second = async {
        let next = permits.wait_for_permit(request(lane, 1), wait, std::future::pending());
        let mut next = std::pin::pin!(next);
        assert!(futures_util::poll!(&mut next).is_pending());
        stop.send(Refusal::Overloaded).unwrap();
        next.await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() && second.is_ok());
}
