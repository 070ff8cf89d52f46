#[test]
fn clients_are_answered() {
    check(Limits::new().deviations(1), one_client);
}
