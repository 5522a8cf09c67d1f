//! Tests the costs of ten days of each kind of account, at an interval of 24 hours. Mono sends webhooks
//! about every outcome. No webhook causes another sync, with any faults of the network.

#![allow(clippy::unwrap_used, reason = "a missing value fails the test")]

use std::cell::RefCell;
use std::rc::Rc;

use mono_sync::domain::spending::Budget;
use simulation::{AccountSimulation, Behaviour, Network, Report, Wallet, World};

/// The paid calls in ten days, for each of 200 accounts.
fn calls(behaviour: Behaviour, network: Network) -> Vec<u64> {
    (0..200)
        .map(|number| {
            let world = World { network, ..World::fair(10, 24) };
            let mut report = Report::new(&world);
            AccountSimulation::new(&world, number, behaviour).live(&mut report);
            report.paid_calls()
        })
        .collect()
}

/// The least and the most paid calls of each kind. The first three are due every 24 hours, or up to a
/// tenth earlier: 9 to 11 times.
const KINDS: [(Behaviour, u64, u64); 6] = [
    (Behaviour::Healthy, 9, 11),
    (Behaviour::Hangs, 9, 11),
    (Behaviour::BadEcho, 9, 11),
    (Behaviour::PaymentOnly, 0, 0),
    (Behaviour::FailingBank, 4, 4),
    (Behaviour::Mfa, 1, 2),
];

#[test]
fn each_kind_of_account_has_its_number_of_paid_calls() {
    for (behaviour, least, most) in KINDS {
        let calls = calls(behaviour, Network::FAIR);
        let (fewest, highest) = (calls.iter().min().unwrap(), calls.iter().max().unwrap());
        println!("{behaviour:?}: {fewest} to {highest}");
        assert!((least..=most).contains(fewest), "{behaviour:?}: {fewest} to {highest}");
        assert!((least..=most).contains(highest), "{behaviour:?}: {fewest} to {highest}");
    }
}

#[test]
fn accounts_without_new_data_cost_nothing_in_ten_days() {
    let kinds =
        [Behaviour::PaymentOnly, Behaviour::FailingBank, Behaviour::Mfa, Behaviour::Healthy];
    let naira = kinds.map(|behaviour| {
        let wallet = Rc::new(RefCell::new(Wallet::new(Budget(None))));
        for number in 0..200 {
            let world = World::fair(10, 24);
            let simulation = AccountSimulation::new(&world, number, behaviour)
                .paid_from(Rc::clone(&wallet), 0.0);
            simulation.live(&mut Report::new(&world));
        }
        wallet.borrow().total.0 / 200
    });
    assert_eq!(naira[..3], [0, 0, 0]);
    // Ten syncs, of which six bring new data, and two listings.
    assert!((600..=1_000).contains(&naira[3]), "{naira:?}");
}

#[test]
fn network_faults_of_webhooks_cause_no_extra_calls() {
    let fair = Network::FAIR;
    for network in [
        Network { duplicate: 1.0, ..fair },
        Network { lose: 1.0, ..fair },
        Network { lose: 0.3, duplicate: 0.5, delay: 0.5, ..fair },
        Network { delay: 1.0, ..fair },
        Network { retry: 1.0, ..fair },
    ] {
        for timed in [true, false] {
            let network = Network { timed, ..network };
            for (behaviour, _, most) in KINDS {
                let calls = calls(behaviour, network);
                let highest = calls.iter().max().unwrap();
                // One more call is allowed: the only webhook about a success may be lost, or may arrive
                // so late that it counts as new.
                assert!(*highest <= most + 1, "{behaviour:?} {network:?}: {highest}");
            }
        }
    }
}
