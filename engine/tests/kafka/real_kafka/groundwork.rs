//! That the tests' own tools work against a real broker.

use crate::support::broker::Broker;
use crate::support::client;
use crate::support::content::Content;

#[test]
fn a_topic_is_filled_and_its_ends_are_known() {
    let broker = Broker::shared();
    let topic = broker.topic("filled", 3);
    client::fill(broker.plaintext(), &topic, &Content::new(1, 10..=2000), 3, 500);
    assert_eq!(client::ends(broker.plaintext(), &topic, 3), [500, 500, 500]);
    assert_eq!(client::committed(broker.plaintext(), "nobody", &topic, 3), [None, None, None]);
}

#[test]
fn transactions_leave_gaps() {
    let broker = Broker::shared();
    let topic = broker.topic("transactions", 2);
    let content = Content::new(1, 10..=200);
    let filler = client::Filler::new(broker.plaintext(), &topic, &content, &[("transactional.id", &topic)]);
    filler.fill_in_transactions(2, 0..40, 10);
    // Four times: three aborted records and a marker, ten records and a marker.
    assert_eq!(client::ends(broker.plaintext(), &topic, 2), [60, 60]);
}

#[test]
fn a_broker_of_ones_own_can_be_stopped_and_keeps_its_records() {
    let broker = Broker::start_own();
    let topic = broker.topic("kept", 1);
    client::fill(broker.plaintext(), &topic, &Content::new(1, 10..=200), 1, 100);
    broker.order("restart");
    assert_eq!(client::ends(broker.plaintext(), &topic, 1), [100]);
    broker.order("stop --hard");
    broker.order("start");
    assert_eq!(client::ends(broker.plaintext(), &topic, 1), [100]);
}
