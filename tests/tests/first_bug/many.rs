#[test]
fn clients_are_answered() {
    check(Limits::new().deviations(3).walks(1_000, 4), one_client);
}
