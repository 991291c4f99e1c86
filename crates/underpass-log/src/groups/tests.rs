use super::Refusal;
use super::driver::{Driver, REBALANCE, SESSION, dynamic, fixed};

#[test]
fn the_first_rebalance_waits_for_more_members_as_long_as_they_come() {
    let mut driver = Driver::new(3_000, 10);
    let mut first = driver.join("");
    driver.advance(2_999);
    let mut second = driver.join("");
    driver.advance(1);
    assert!(first.poll().is_none() && second.poll().is_none());
    driver.advance(2_999);
    assert!(first.poll().is_none() && second.poll().is_none());
    driver.advance(1);
    let (first, second) = (first.answer().unwrap(), second.answer().unwrap());
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!((first.leader.as_str(), second.leader.as_str()), ("id-001", "id-001"));
    let names = |members: Vec<super::member::JoinedMember>| {
        members.into_iter().map(|member| member.member_id).collect::<Vec<_>>()
    };
    assert_eq!(names(first.members), ["id-001", "id-002"]);
    assert!(second.members.is_empty());
}

#[test]
fn the_first_rebalance_waits_no_longer_than_members_allow() {
    let mut driver = Driver::new(3_000, 100);
    let mut joins = Vec::new();
    let mut request = driver.request("", None);
    request.rebalance_timeout = 7_000;
    joins.push(driver.send(request));
    for _ in 0..6 {
        driver.advance(999);
        let mut request = driver.request("", None);
        request.rebalance_timeout = 7_000;
        joins.push(driver.send(request));
    }
    // 3 s, 3 s more, and then the 1 s that is left of seven.
    driver.advance(7_000 - 5_994 - 1);
    assert!(joins.iter_mut().all(|join| join.poll().is_none()));
    driver.advance(1);
    assert!(joins.into_iter().all(|join| join.answer().is_ok()));
}

#[test]
fn a_member_that_can_join_twice_is_given_its_name_first() {
    let mut driver = Driver::new(0, 10);
    let mut request = driver.request("", None);
    request.joins_twice = true;
    let refused = driver.send(request).answer().unwrap_err();
    assert_eq!((refused.why, &*refused.member_id), (Refusal::MemberIdRequired, "id-001"));
    let joined = driver.join("id-001").answer().unwrap();
    assert_eq!((&*joined.member_id, joined.generation), ("id-001", 1));
}

#[test]
fn a_name_that_is_not_used_lapses_after_a_session() {
    let mut driver = Driver::new(0, 10);
    let [leader] = driver.stable();
    let mut request = driver.request("", None);
    request.joins_twice = true;
    let name = driver.send(request).answer().unwrap_err().member_id;
    driver.advance(SESSION - 1);
    assert!(driver.group.heartbeat(driver.now, &dynamic(&leader.member_id), 1).is_ok());
    driver.advance(1);
    let refused = driver.join(&name).answer().unwrap_err();
    assert_eq!(refused.why, Refusal::UnknownMember);
    assert_eq!(driver.group.state_name(), "Stable");
}

#[test]
fn the_protocol_is_the_one_that_most_prefer_of_those_that_all_support() {
    let mut driver = Driver::new(3_000, 10);
    let orders: [&[&str]; 3] = [&["a", "b", "c"], &["c", "b", "a"], &["d", "c", "b"]];
    let joins = orders.map(|order| {
        let mut request = driver.request("", None);
        let named = |name: &&str| {
            let metadata = bytes::Bytes::new();
            super::member::Protocol { name: (*name).to_owned(), metadata }
        };
        request.protocols = order.iter().map(named).collect();
        driver.send(request)
    });
    driver.advance(6_000);
    // All support b and c; one prefers b to c, and two c to b.
    for join in joins {
        assert_eq!(join.answer().unwrap().protocol.as_deref(), Some("c"));
    }
}

#[test]
fn a_member_that_shares_no_protocol_with_the_others_is_refused() {
    let mut driver = Driver::new(0, 10);
    driver.stable::<1>();
    let mut request = driver.request("", None);
    request.protocols[0].name = "other".to_owned();
    request.protocols.truncate(1);
    let refused = driver.send(request).answer().unwrap_err();
    assert_eq!(refused.why, Refusal::InconsistentProtocol);
    let mut request = driver.request("", None);
    request.protocol_type = "connect".to_owned();
    let refused = driver.send(request).answer().unwrap_err();
    assert_eq!(refused.why, Refusal::InconsistentProtocol);
    assert_eq!(driver.group.state_name(), "Stable");
}

#[test]
fn followers_wait_for_what_the_leader_assigns_and_those_left_out_get_nothing() {
    let mut driver = Driver::new(3_000, 10);
    let joins = [driver.join(""), driver.join(""), driver.join("")];
    driver.advance(6_000);
    let [a, b, c] = joins.map(|join| join.answer().unwrap().member_id);
    let mut early = driver.sync(&b, 1, &[]);
    assert!(early.poll().is_none());
    let leader = driver.sync(&a, 1, &[(&a, "zero"), (&b, "one"), ("stranger", "two")]);
    assert_eq!(leader.answer().unwrap().assignment, "zero");
    assert_eq!(early.answer().unwrap().assignment, "one");
    let late = driver.sync(&c, 1, &[(&c, "not its affair")]).answer().unwrap();
    assert_eq!((&*late.assignment, late.protocol.as_deref()), (&b""[..], Some("range")));
}

#[test]
fn a_generation_other_than_the_current_one_is_refused() {
    let mut driver = Driver::new(0, 10);
    let [member] = driver.stable();
    let (id, now) = (dynamic(&member.member_id), driver.now);
    for generation in [-1, 0, 2] {
        let illegal = Err(Refusal::IllegalGeneration);
        assert_eq!(driver.group.heartbeat(now, &id, generation), illegal, "{generation}");
        assert_eq!(driver.group.commit(now, &id, generation), illegal, "{generation}");
        let sync = driver.sync(&member.member_id, generation, &[]).answer();
        assert_eq!(sync, Err(Refusal::IllegalGeneration), "{generation}");
    }
    assert_eq!(driver.group.commit(now, &id, 1), Ok(()));
}

#[test]
fn a_silent_member_is_removed_and_the_others_join_again() {
    let mut driver = Driver::new(3_000, 10);
    let [a, b] = driver.stable();
    driver.advance(SESSION - 1);
    let alive = dynamic(&b.member_id);
    assert_eq!(driver.group.heartbeat(driver.now, &alive, 1), Ok(()));
    driver.advance(1);
    let now = driver.now;
    assert_eq!(driver.group.heartbeat(now, &alive, 1), Err(Refusal::RebalanceInProgress));
    let gone = driver.group.commit(now, &dynamic(&a.member_id), 1);
    assert_eq!(gone, Err(Refusal::UnknownMember));
    let joined = driver.join(&b.member_id).answer().unwrap();
    assert_eq!((joined.generation, &joined.leader), (2, &b.member_id));
}

#[test]
fn who_does_not_join_again_in_time_is_removed() {
    let mut driver = Driver::new(0, 10);
    let [a] = driver.stable();
    let mut newcomer = driver.join("");
    for _ in 0..REBALANCE / 5_000 - 1 {
        driver.advance(5_000);
        let heard = driver.group.heartbeat(driver.now, &dynamic(&a.member_id), 1);
        assert_eq!(heard, Err(Refusal::RebalanceInProgress));
    }
    driver.advance(4_999);
    assert!(newcomer.poll().is_none());
    driver.advance(1);
    let joined = newcomer.answer().unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
    let refused = driver.join(&a.member_id).answer().unwrap_err();
    assert_eq!(refused.why, Refusal::UnknownMember);
}

#[test]
fn who_does_not_ask_for_its_assignment_is_removed() {
    let mut driver = Driver::new(3_000, 10);
    let joins = [driver.join(""), driver.join("")];
    driver.advance(6_000);
    let [a, b] = joins.map(|join| join.answer().unwrap().member_id);
    driver.sync(&a, 1, &[(&a, "zero")]).answer().unwrap();
    for _ in 0..REBALANCE / 5_000 {
        for id in [&a, &b] {
            assert_eq!(driver.group.heartbeat(driver.now, &dynamic(id), 1), Ok(()));
        }
        driver.advance(5_000);
    }
    let heard = driver.group.heartbeat(driver.now, &dynamic(&b), 1);
    assert_eq!(heard, Err(Refusal::UnknownMember));
    assert_eq!(driver.join(&a).answer().unwrap().generation, 2);
}

#[test]
fn that_holds_in_each_generation() {
    let mut driver = Driver::new(3_000, 10);
    let [a, b] = driver.stable();
    let joins = [driver.join(&a.member_id), driver.join(&b.member_id)];
    joins.into_iter().for_each(|join| assert_eq!(join.answer().unwrap().generation, 2));
    driver.sync(&a.member_id, 2, &[]).answer().unwrap();
    for _ in 0..REBALANCE / 5_000 {
        for id in [&a.member_id, &b.member_id] {
            assert_eq!(driver.group.heartbeat(driver.now, &dynamic(id), 2), Ok(()));
        }
        driver.advance(5_000);
    }
    let heard = driver.group.heartbeat(driver.now, &dynamic(&b.member_id), 2);
    assert_eq!(heard, Err(Refusal::UnknownMember));
}

#[test]
fn a_session_does_not_end_while_the_member_waits_for_the_leader() {
    let mut driver = Driver::new(3_000, 10);
    let joins = [driver.join(""), driver.join("")];
    driver.advance(6_000);
    let [a, b] = joins.map(|join| join.answer().unwrap().member_id);
    let waiting = driver.sync(&b, 1, &[]);
    for _ in 0..3 {
        driver.advance(SESSION - 1);
        assert_eq!(driver.group.heartbeat(driver.now, &dynamic(&a), 1), Ok(()));
    }
    driver.sync(&a, 1, &[(&b, "one")]).answer().unwrap();
    assert_eq!(waiting.answer().unwrap().assignment, "one");
    driver.advance(SESSION - 1);
    assert_eq!(driver.group.heartbeat(driver.now, &dynamic(&b), 1), Ok(()));
}

#[test]
fn a_static_member_started_anew_gets_back_what_it_had_and_fences_its_old_self() {
    let mut driver = Driver::new(3_000, 10);
    let joins = [driver.join_static("", "one"), driver.join_static("", "two")];
    driver.advance(6_000);
    let [a, b] = joins.map(|join| join.answer().unwrap().member_id);
    let follower = driver.sync(&b, 1, &[]);
    driver.sync(&a, 1, &[(&a, "zero"), (&b, "one")]).answer().unwrap();
    follower.answer().unwrap();
    let again = driver.join_static("", "two").answer().unwrap();
    assert_eq!((again.generation, &*again.member_id, &again.leader), (1, "id-003", &a));
    assert_eq!(driver.sync("id-003", 1, &[]).answer().unwrap().assignment, "one");
    let old = fixed(&b, "two");
    let fenced = Err(Refusal::FencedInstance);
    assert_eq!(driver.group.commit(driver.now, &old, 1), fenced);
    assert_eq!(driver.group.heartbeat(driver.now, &old, 1), fenced);
    assert_eq!(driver.join_static(&b, "two").answer().unwrap_err().why, Refusal::FencedInstance);
    assert_eq!(driver.group.commit(driver.now, &fixed("id-003", "two"), 1), Ok(()));
}

#[test]
fn a_leader_started_anew_is_not_told_that_it_leads_unless_it_can_skip_the_assignment() {
    for skips in [false, true] {
        let mut driver = Driver::new(0, 10);
        let old = driver.join_static("", "one").answer().unwrap().member_id;
        driver.sync(&old, 1, &[(&old, "zero")]).answer().unwrap();
        let mut request = driver.request("", Some("one"));
        request.skips_assignment = skips;
        let again = driver.send(request).answer().unwrap();
        let leader = if skips { "id-002" } else { &*old };
        assert_eq!((&*again.leader, again.skip_assignment), (leader, skips));
        assert_eq!(again.members.len(), usize::from(skips));
    }
}

#[test]
fn static_members_may_be_away_for_a_session_and_a_rebalance_does_not_remove_them() {
    let mut driver = Driver::new(3_000, 10);
    let joins = [driver.join_static("", "one"), driver.join("")];
    driver.advance(6_000);
    let [a, b] = joins.map(|join| join.answer().unwrap().member_id);
    driver.sync(&a, 1, &[]).answer().unwrap();
    driver.sync(&b, 1, &[]).answer().unwrap();
    // "one" stops without leaving; the other joins again, and is elected.
    let mut request = driver.request(&b, None);
    request.rebalance_timeout = 2_000;
    request.protocols.truncate(1);
    let mut join = driver.send(request);
    for _ in 0..REBALANCE / 5_000 {
        assert!(join.poll().is_none());
        let heard = driver.group.heartbeat(driver.now, &fixed(&a, "one"), 1);
        assert_eq!(heard, Err(Refusal::RebalanceInProgress));
        driver.advance(5_000);
    }
    let joined = join.answer().unwrap();
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (2, &b, 2));
}

#[test]
fn a_group_whose_static_members_are_all_away_waits_with_pauses() {
    let mut driver = Driver::new(0, 10);
    let mut ids = Vec::new();
    for instance in ["one", "two"] {
        let mut request = driver.request("", Some(instance));
        request.rebalance_timeout = 0;
        drop(driver.send(request));
    }
    for instance in ["one", "two"] {
        let mut request = driver.request("", Some(instance));
        request.rebalance_timeout = 0;
        ids.push(driver.send(request));
    }
    driver.advance(1_000);
    let left = driver.group.leave(driver.now, &[fixed("", "two")]);
    assert_eq!(left, [Ok(())]);
    for _ in 0..5 {
        let due = driver.group.next_deadline().unwrap();
        assert!(due > driver.now, "it never rests");
        driver.advance(due - driver.now);
    }
    driver.advance(SESSION);
    assert_eq!(driver.group.state_name(), "Empty");
}

#[test]
fn leaving_begins_a_new_generation_without_waiting_for_the_session_to_end() {
    let mut driver = Driver::new(3_000, 10);
    let [a, b] = driver.stable();
    let left = driver.group.leave(driver.now, &[dynamic(&a.member_id), dynamic("stranger")]);
    assert_eq!(left, [Ok(()), Err(Refusal::UnknownMember)]);
    let joined = driver.join(&b.member_id).answer().unwrap();
    assert_eq!((joined.generation, &joined.leader), (2, &b.member_id));
    let left = driver.group.leave(driver.now, &[dynamic(&b.member_id)]);
    assert_eq!((left, driver.group.state_name()), (vec![Ok(())], "Empty"));
    assert!(driver.group.is_vacant() && driver.group.next_deadline().is_none());
}

#[test]
fn an_operator_removes_a_static_member_by_the_name_of_its_instance() {
    let mut driver = Driver::new(0, 10);
    let id = driver.join_static("", "one").answer().unwrap().member_id;
    let left = driver.group.leave(driver.now, &[fixed("", "two"), fixed("", "one")]);
    assert_eq!(left, [Err(Refusal::UnknownMember), Ok(())]);
    let gone = driver.group.heartbeat(driver.now, &dynamic(&id), 1);
    assert_eq!(gone, Err(Refusal::UnknownMember));
}

#[test]
fn a_full_group_refuses_names_as_well_as_members() {
    let mut driver = Driver::new(0, 2);
    let [a] = driver.stable();
    let mut request = driver.request("", None);
    request.joins_twice = true;
    let name = driver.send(request.clone()).answer().unwrap_err().member_id;
    let refused = driver.send(request).answer().unwrap_err();
    assert_eq!((refused.why, &*refused.member_id), (Refusal::GroupFull, ""));
    // Those who have a name or are members are not affected.
    let newcomer = driver.join(&name);
    let again = driver.join(&a.member_id).answer().unwrap();
    assert_eq!((again.generation, newcomer.answer().unwrap().generation), (2, 2));
}

#[test]
fn a_new_member_whose_connection_is_closed_is_not_waited_for() {
    let mut driver = Driver::new(0, 10);
    let [a] = driver.stable();
    drop(driver.join(""));
    let joined = driver.join(&a.member_id).answer().unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
    let mut driver = Driver::new(3_000, 10);
    let first = driver.join("");
    drop(driver.join(""));
    driver.advance(6_000);
    assert_eq!(first.answer().unwrap().members.len(), 1);
}

#[test]
fn a_member_that_asks_twice_is_answered_twice() {
    let mut driver = Driver::new(3_000, 10);
    let [a, b] = driver.stable();
    let first = driver.join(&a.member_id);
    let second = driver.join(&a.member_id);
    assert_eq!(first.answer().unwrap_err().why, Refusal::RebalanceInProgress);
    let other = driver.join(&b.member_id).answer().unwrap();
    assert_eq!((second.answer().unwrap().generation, other.generation), (2, 2));
    // An answer that got lost is given again, as long as nothing has changed.
    assert_eq!(driver.join(&b.member_id).answer().unwrap().generation, 2);
    let first = driver.sync(&b.member_id, 2, &[]);
    let second = driver.sync(&b.member_id, 2, &[]);
    assert_eq!(first.answer().unwrap_err(), Refusal::RebalanceInProgress);
    driver.sync(&a.member_id, 2, &[(&b.member_id, "one")]).answer().unwrap();
    assert_eq!(second.answer().unwrap().assignment, "one");
}

#[test]
fn offsets_are_committed_by_members_or_while_there_are_none() {
    let mut driver = Driver::new(0, 10);
    let tool = dynamic("");
    assert_eq!(driver.group.commit(driver.now, &tool, -1), Ok(()));
    let id = driver.join("").answer().unwrap().member_id;
    // Between the answer to joining and the assignment, a commit would be for partitions that
    // somebody else may have.
    let commit = driver.group.commit(driver.now, &dynamic(&id), 1);
    assert_eq!(commit, Err(Refusal::RebalanceInProgress));
    driver.sync(&id, 1, &[]).answer().unwrap();
    assert_eq!(driver.group.commit(driver.now, &dynamic(&id), 1), Ok(()));
    assert_eq!(driver.group.commit(driver.now, &tool, -1), Err(Refusal::UnknownMember));
}

#[test]
fn offsets_of_a_topic_that_a_member_reads_are_not_deleted() {
    let mut driver = Driver::new(0, 10);
    assert_eq!(driver.group.deletes_offsets_of("t"), Ok(()));
    driver.stable::<1>();
    assert_eq!(driver.group.deletes_offsets_of("t"), Err(Refusal::SubscribedToTopic));
    assert_eq!(driver.group.deletes_offsets_of("u"), Ok(()));
}
