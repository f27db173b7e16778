//! The state machine by itself: single rules as sentences, and random sequences against a model that remembers what was said.

use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn id(number: usize) -> ContainerId {
    format!("{number:064x}").parse().unwrap()
}

fn seen(number: usize) -> Seen {
    // Three containers of each image.
    let image = Some(Digest::of(format!("{}", number / 3).as_bytes()));
    Seen { id: id(number), name: format!("c{number}"), image_ref: String::new(), image, task: TaskOf::Nobody }
}

fn all(count: usize) -> Vec<Seen> {
    (0..count).map(seen).collect()
}

fn why(code: &'static str) -> Why {
    Why { code, message: format!("{code}: x; y"), is_lasting: false, hangs_on_clock: false }
}

fn no() -> Word {
    Word::No(why("not-signed"))
}

fn forgiven() -> Word {
    Word::Spared(why("not-signed"), Spare::Forgiven)
}

fn superseded() -> Word {
    Word::Spared(why("not-signed"), Spare::Superseded)
}

fn unsure() -> Word {
    Word::CannotTell(why("trust-unreachable"))
}

fn standing(rule: MonitorRule, pause: i64) -> Standing {
    let fingerprint = Digest::of(b"policy");
    Standing { fingerprint, is_sound: true, rule, is_enforced: true, pause: SignedDuration::from_secs(pause) }
}

/// A host of so many containers, of which these are refused, judged once at the second 0.
fn host(standing: Standing, count: usize, refused: &[usize]) -> Brain {
    let mut brain = Brain::new(standing, Memory::default(), at(0));
    brain.listed(all(count), at(0));
    for number in 0..count {
        let word = if refused.contains(&number) { no() } else { Word::Yes };
        brain.judged(&id(number), word, at(0));
    }
    brain
}

fn holds(brain: &Brain, second: i64) -> Vec<&'static str> {
    brain.found(at(second)).iter().map(|found| found.hold.as_ref().map_or("", Hold::kind)).collect()
}

#[test]
fn one_that_is_refused_twice_is_acted_on_and_one_beside_it_is_not() {
    let mut brain = host(standing(MonitorRule::Stop, 0), 2, &[1]);
    assert!(brain.due(at(0)).is_empty(), "once is not enough");
    assert_eq!(brain.due(at(1)), [id(1)]);
    let act = brain.confirm(&id(1), no(), at(1)).unwrap();
    assert_eq!((act.container, act.is_granted), (id(1), false));
    assert_eq!(brain.confirm(&id(1), no(), at(1)), None, "it is being done");
    assert_eq!(brain.confirm(&id(0), no(), at(1)), None, "nobody asked about that one");
}

#[test]
fn what_is_approved_or_cannot_be_told_the_second_time_is_left_alone() {
    for word in [Word::Yes, unsure()] {
        let mut brain = host(standing(MonitorRule::Remove, 0), 2, &[1]);
        assert_eq!(brain.confirm(&id(1), word, at(2)), None);
        assert!(brain.due(at(3)).is_empty());
        // And has to be refused twice again.
        brain.judged(&id(1), no(), at(4));
        assert!(brain.due(at(4)).is_empty());
    }
}

#[test]
fn what_a_permissive_scope_forgives_is_reported_and_held_and_what_it_forgives_no_more_begins_anew() {
    let mut brain = host(standing(MonitorRule::Remove, 0), 3, &[1]);
    assert!(brain.judged(&id(2), forgiven(), at(0)).is_some());
    assert_eq!(holds(&brain, 5), ["", "permissive"], "and it takes nobody's place before the brake");
    assert_eq!(brain.due(at(5)), [id(1)]);
    assert_eq!(brain.confirm(&id(2), forgiven(), at(5)), None);
    assert_eq!(brain.confirm(&id(2), no(), at(5)), None, "it was refused once");
    let mut brain = host(standing(MonitorRule::Stop, 600), 1, &[]);
    brain.judged(&id(0), forgiven(), at(1000));
    assert!(brain.judged(&id(0), no(), at(2000)).is_some(), "that is news");
    assert!(brain.due(at(2599)).is_empty());
    assert_eq!(brain.due(at(2600)), [id(0)]);
}

#[test]
fn what_cannot_be_judged_for_long_or_for_good_is_held_loudly_and_never_acted_on() {
    let mut brain = host(standing(MonitorRule::Remove, 0), 3, &[]);
    let held = |brain: &Brain, second| brain.unsure(at(second)).iter().map(|found| found.hold.is_some()).collect::<Vec<_>>();
    brain.judged(&id(1), unsure(), at(0));
    brain.judged(&id(2), Word::CannotTell(Why { is_lasting: true, ..why("container-too-large") }), at(0));
    assert_eq!(held(&brain, 1), [false, true]);
    brain.judged(&id(1), unsure(), at(300));
    assert_eq!((held(&brain, 599), held(&brain, 600)), (vec![false, true], vec![true, true]));
    assert!(brain.due(at(700)).is_empty() && brain.found(at(700)).is_empty());
    // It could be told in between: it begins anew.
    brain.judged(&id(1), Word::Yes, at(700));
    brain.judged(&id(1), unsure(), at(701));
    assert_eq!(held(&brain, 1300), [false, true]);
}

#[test]
fn what_is_superseded_is_reported_and_held_until_it_is_withdrawn() {
    let mut brain = host(standing(MonitorRule::Stop, 600), 1, &[]);
    assert!(brain.judged(&id(0), superseded(), at(1000)).is_some());
    assert_eq!((holds(&brain, 5000), brain.due(at(5000))), (vec!["superseded"], Vec::new()));
    brain.judged(&id(0), no(), at(6000));
    assert_eq!(holds(&brain, 6599), ["changed"]);
    assert_eq!(brain.due(at(6600)), [id(0)]);
}

#[test]
fn nothing_is_acted_on_where_it_is_only_reported() {
    let act = standing(MonitorRule::Stop, 0);
    for standing in [
        Standing { rule: MonitorRule::Report, ..act },
        Standing { rule: MonitorRule::Off, ..act },
        Standing { is_enforced: false, ..act },
        Standing { is_sound: false, ..act },
    ] {
        let mut brain = host(standing, 2, &[1]);
        assert!(brain.due(at(5)).is_empty() && brain.confirm(&id(1), no(), at(5)).is_none(), "{standing:?}");
        assert_eq!(brain.found(at(5)).len(), 1, "it is found all the same");
    }
}

#[test]
fn a_finding_is_told_once_and_again_for_another_reason() {
    let mut brain = host(standing(MonitorRule::Report, 0), 1, &[]);
    assert!(brain.judged(&id(0), no(), at(1)).is_some());
    assert!(brain.judged(&id(0), no(), at(2)).is_none());
    assert!(brain.judged(&id(0), Word::No(why("image-rule")), at(3)).is_some());
    assert!(brain.judged(&id(0), Word::Yes, at(4)).is_none());
    assert!(brain.judged(&id(0), no(), at(5)).is_some());
}

#[test]
fn after_a_change_it_only_reports_for_a_while_also_across_a_restart() {
    let mut brain = host(standing(MonitorRule::Stop, 600), 2, &[1]);
    assert_eq!(holds(&brain, 599), ["changed"], "what was in force before is not known: that is a change");
    assert_eq!(brain.due(at(600)), [id(1)]);
    // The same policy after a restart is no change.
    let mut next = Brain::new(*brain.standing(), brain.memory(), at(700));
    next.listed(all(2), at(700));
    next.judged(&id(0), Word::Yes, at(700));
    next.judged(&id(1), no(), at(700));
    assert_eq!(next.due(at(701)), [id(1)]);
    // Another one is, and all are judged by it first.
    let other = Standing { fingerprint: Digest::of(b"other"), ..*brain.standing() };
    assert!(brain.stand(other, at(700)) && !brain.stand(other, at(701)));
    assert_eq!(brain.wanted(at(701), 10).len(), 2);
    for number in 0..2 {
        brain.judged(&id(number), no(), at(701));
    }
    assert!(brain.due(at(1299)).is_empty());
    assert_eq!(holds(&brain, 1301), ["brake", "brake"]);
}

#[test]
fn who_changes_his_mind_is_a_change_also_by_way_of_an_outage_and_a_restart() {
    let ask = standing(MonitorRule::Stop, 600);
    let mut brain = host(ask, 2, &[]);
    brain.judged(&id(1), unsure(), at(5000));
    let mut next = Brain::new(ask, brain.memory(), at(5001));
    for brain in [&mut brain, &mut next] {
        brain.listed(all(2), at(5001));
        brain.judged(&id(0), Word::Yes, at(5002));
        brain.judged(&id(1), no(), at(5002));
        assert!(brain.due(at(5601)).is_empty());
        assert_eq!(brain.due(at(5602)), [id(1)]);
    }
    // One that was never approved is no change of anybody's mind.
    let mut again = Brain::new(ask, next.memory(), at(5003));
    again.listed(all(3), at(5003));
    for (number, word) in [(0, Word::Yes), (1, no()), (2, no())] {
        again.judged(&id(number), word, at(5003));
    }
    assert_eq!(again.due(at(5010)), [id(2)]);
}

#[test]
fn more_than_the_brake_lets_pass_waits_for_what_the_operator_approves() {
    // Two of twenty may be; three are not touched, and no two of them either.
    let mut brain = host(standing(MonitorRule::Stop, 0), 20, &[3, 7, 11]);
    assert_eq!(holds(&brain, 5), ["brake"; 3]);
    assert!(brain.due(at(5)).is_empty());
    let set = |numbers: &[usize]| numbers.iter().map(|number| id(*number)).collect::<BTreeSet<_>>();
    for wrong in [set(&[3, 7, 11, 12]), set(&[])] {
        assert_eq!(brain.approve(wrong, at(5)), 0);
    }
    assert!(brain.due(at(5)).is_empty());
    assert_eq!(brain.approve(set(&[3, 7]), at(5)), 2);
    assert_eq!(brain.due(at(6)), [id(3), id(7)], "what was not shown stays braked");
    assert_eq!(brain.approve(set(&[3, 7, 11]), at(5)), 3);
    assert_eq!(brain.due(at(6)).len(), 3);
    for number in [3, 7, 11] {
        assert!(brain.confirm(&id(number), no(), at(6)).unwrap().is_granted);
    }
    // It was for once: one that starts again is counted again.
    brain.over(&id(3), at(6));
    brain.judged(&id(3), no(), at(7));
    assert!(!brain.is_granted(&id(3), at(8)));
}

/// A client holds the lock of one, or ends it, while the operator reads.
#[test]
fn one_that_is_out_of_sight_at_the_answer_keeps_none_of_the_others() {
    let mut brain = host(standing(MonitorRule::Stop, 0), 20, &[1, 2, 3, 4, 5, 6, 7]);
    let shown = brain.awaited(at(5));
    brain.judged(&id(7), unsure(), at(5));
    assert_eq!(brain.approve(shown.clone(), at(5)), 6);
    assert_eq!(brain.due(at(6)).len(), 6);
    // It comes back: nobody let it be acted on, and the six are still there.
    brain.judged(&id(7), no(), at(6));
    assert!(!brain.due(at(8)).contains(&id(7)));
    // And one that is approved meanwhile is another set.
    brain.judged(&id(6), Word::Yes, at(8));
    assert_eq!(brain.approve(shown, at(8)), 0);
}

#[test]
fn one_that_was_approved_before_the_start_and_is_no_more_has_one_pause() {
    let memory = Memory {
        fingerprint: Some(Digest::of(b"policy")),
        changed: Some(at(-5000)),
        approved: [id(0)].into(),
        ..Memory::default()
    };
    let mut brain = Brain::new(standing(MonitorRule::Stop, 600), memory, at(0));
    brain.listed(all(1), at(0));
    brain.judged(&id(0), no(), at(0));
    assert_eq!((brain.due(at(599)), brain.due(at(600))), (Vec::new(), vec![id(0)]));
    brain.listed(Vec::new(), at(700));
    brain.listed(Vec::new(), at(761));
    brain.listed(all(1), at(762));
    brain.judged(&id(0), no(), at(762));
    assert_eq!(brain.due(at(763)), [id(0)]);
}

#[test]
fn the_last_judgement_says_what_is_news_and_holds_what_hangs_on_the_clock() {
    let mut brain = host(standing(MonitorRule::Stop, 600), 1, &[0]);
    assert_eq!(brain.due(at(700)), [id(0)]);
    let expired = Word::No(Why { hangs_on_clock: true, ..why("trust-expired") });
    assert_eq!(brain.confirm(&id(0), expired.clone(), at(700)), None);
    assert_eq!(brain.news().iter().map(|found| found.why.code).collect::<Vec<_>>(), ["trust-expired"]);
    assert!(brain.due(at(1299)).is_empty() && brain.news().is_empty());
    assert!(brain.confirm(&id(0), expired, at(1300)).is_some());
}

#[test]
fn what_was_approved_by_the_operator_is_so_for_a_while_and_under_this_policy_alone() {
    let all_three = || (0..3).map(id).collect::<BTreeSet<_>>();
    let mut brain = host(standing(MonitorRule::Stop, 0), 3, &[0, 1, 2]);
    assert_eq!(brain.approve(all_three(), at(5)), 3);
    assert!(brain.due(at(4 + 600)).len() == 3 && brain.due(at(5 + 600)).is_empty());
    assert_eq!(brain.approve(all_three(), at(700)), 3);
    let remove = Standing { rule: MonitorRule::Remove, ..*brain.standing() };
    brain.stand(remove, at(701));
    assert!(brain.due(at(702)).is_empty());
}

#[test]
fn one_after_the_other_is_at_once_too() {
    let mut brain = host(standing(MonitorRule::Stop, 0), 9, &[1]);
    assert!(brain.confirm(&id(1), no(), at(2)).is_some());
    brain.listed(all(9).into_iter().filter(|seen| seen.id != id(1)).collect(), at(3));
    brain.judged(&id(5), no(), at(3));
    assert_eq!(holds(&brain, 10), ["window"]);
    assert!(brain.due(at(10)).is_empty());
    assert_eq!(brain.due(at(2 + 600)), [id(5)]);
    // Also for the next process.
    let next = Brain::new(*brain.standing(), brain.memory(), at(20));
    assert_eq!(next.recent(at(20)), 1);
}

#[test]
fn a_share_of_a_large_host_is_bounded_and_a_small_one_has_one() {
    for (count, limit) in [(0, 1), (1, 1), (9, 1), (19, 1), (20, 2), (50, 5), (60, 5), (500, 5)] {
        let brain = host(standing(MonitorRule::Stop, 0), count, &[]);
        assert_eq!(brain.figures(), (count, limit));
    }
}

#[test]
fn repeats_of_an_image_wait_longer_each_time() {
    let mut brain = host(standing(MonitorRule::Stop, 0), 30, &[]);
    let mut second = 10;
    let mut waits = Vec::new();
    for _ in 0..6 {
        brain.judged(&id(4), no(), at(second));
        let due = (second + 1..second + 1000).find(|later| brain.due(at(*later)) == [id(4)]).unwrap();
        waits.push(due - second - 1);
        assert!(brain.confirm(&id(4), no(), at(due)).is_some());
        brain.over(&id(4), at(due));
        // Past the window, which is another brake.
        brain.acts.clear();
        second = due;
    }
    assert_eq!(waits[0], 0);
    assert_eq!(waits[1..], [29, 59, 119, 239, 299]);
    // Another container that ran already is no repeat, and another image does not wait for it.
    brain.judged(&id(3), no(), at(second));
    brain.judged(&id(4), no(), at(second));
    brain.judged(&id(20), no(), at(second));
    assert_eq!(brain.due(at(second + 1)), [id(3), id(20)]);
}

#[test]
fn tasks_are_told_by_service_and_a_claim_that_is_not_true_helps_nobody() {
    let claim = TaskClaim { service: "web".into(), task: "t".into() };
    for (task, kind) in [(TaskOf::Service("web".into()), "task"), (TaskOf::Claimed(claim), "claims"), (TaskOf::Nobody, "")] {
        let mut brain = Brain::new(standing(MonitorRule::Remove, 0), Memory::default(), at(0));
        brain.listed(vec![Seen { task, ..seen(0) }], at(0));
        assert!(brain.judged(&id(0), no(), at(0)).is_some());
        assert_eq!(holds(&brain, 2), [kind]);
        assert_eq!(brain.due(at(2)).len(), usize::from(kind.is_empty()));
    }
}

#[test]
fn nothing_is_done_before_all_that_run_were_judged_and_who_cannot_be_judged_is_last() {
    let mut brain = Brain::new(standing(MonitorRule::Stop, 0), Memory::default(), at(0));
    brain.listed(all(4), at(0));
    brain.judged(&id(0), no(), at(0));
    brain.judged(&id(1), unsure(), at(0));
    brain.judged(&id(2), Word::Yes, at(0));
    assert!(brain.due(at(5)).is_empty());
    assert_eq!(brain.wanted(at(5), 10), [id(3)]);
    brain.scan(at(6));
    assert_eq!(brain.wanted(at(6), 10), [id(3), id(0), id(2), id(1)]);
    brain.judged(&id(3), Word::Yes, at(6));
    assert_eq!(brain.due(at(6)), [id(0)]);
}

#[test]
fn a_clock_that_is_set_back_shortens_no_pause() {
    let mut brain = host(standing(MonitorRule::Stop, 600), 1, &[0]);
    assert_eq!(brain.due(at(601)), [id(0)]);
    brain.stand(*brain.standing(), at(-5000));
    assert!(brain.due(at(-4401)).is_empty());
    let memory = Memory { changed: Some(at(9_000_000)), ..brain.memory() };
    assert_eq!(Brain::new(*brain.standing(), memory, at(0)).paused_until(at(0)), Some(at(600)));
}

#[test]
fn a_clock_that_is_set_forwards_is_a_change_and_ends_no_window() {
    let mut brain = host(standing(MonitorRule::Stop, 600), 12, &[1, 4]);
    assert_eq!(holds(&brain, 700), ["brake", "brake"]);
    brain.judged(&id(4), Word::Yes, at(700));
    assert!(brain.confirm(&id(1), no(), at(700)).is_some());
    brain.over(&id(1), at(700));
    // A day ahead: without that, pause, window and back-off would all be over.
    let day = 86_400;
    brain.stepped(SignedDuration::from_secs(day), at(day + 701));
    brain.judged(&id(1), no(), at(day + 701));
    assert_eq!(brain.paused_until(at(day + 701)), Some(at(day + 701 + 600)));
    assert!((day + 701..day + 1301).all(|second| brain.due(at(second)).is_empty()));
    assert_eq!(brain.recent(at(day + 1299)), 1, "it was ten minutes ago, and not a day");
    assert_eq!(brain.recent(at(day + 1300)), 0);
    assert_eq!(brain.due(at(day + 1302)), [id(1)]);
}

#[test]
fn what_expired_by_the_clock_alone_is_only_reported_for_a_pause_also_across_a_restart() {
    let expired = || Word::No(Why { hangs_on_clock: true, ..why("trust-expired") });
    let ask = standing(MonitorRule::Stop, 600);
    let mut brain = host(ask, 2, &[]);
    brain.listed(all(3), at(1000));
    assert!(brain.judged(&id(2), expired(), at(1000)).is_some());
    assert_eq!(holds(&brain, 1599), ["changed"]);
    let mut next = Brain::new(ask, brain.memory(), at(1300));
    next.listed(all(3), at(1300));
    for (number, word) in [(0, Word::Yes), (1, Word::Yes), (2, expired())] {
        next.judged(&id(number), word, at(1300));
    }
    for brain in [&brain, &next] {
        assert!(brain.due(at(1599)).is_empty());
        assert_eq!(brain.due(at(1600)), [id(2)]);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(i64),
    Start(usize),
    End(usize),
    Says(usize, u8),
    Change,
    Sound(bool),
    Enforced(bool),
    Rule(bool),
    Scan,
    Round,
    Act,
    Approve(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..30_usize;
    prop_oneof![
        4 => prop_oneof![0..3_000_i64, 0..700_000_i64].prop_map(Step::Wait),
        4 => number().prop_map(Step::Start),
        1 => number().prop_map(Step::End),
        4 => (number(), 0..8_u8).prop_map(|(number, word)| Step::Says(number, word)),
        1 => Just(Step::Change),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Step::Sound),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Step::Enforced),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Step::Rule),
        2 => Just(Step::Scan),
        6 => Just(Step::Round),
        8 => Just(Step::Act),
        2 => any::<bool>().prop_map(Step::Approve),
        1 => Just(Step::Restart),
    ]
}

/// What is true, and what was said.
struct Model {
    now: Timestamp,
    runs: BTreeSet<usize>,
    truth: Vec<Word>,
    /// Since when each has been called refused without a break.
    refused: BTreeMap<usize, Timestamp>,
    standing: Standing,
    changed: Timestamp,
    granted: BTreeSet<usize>,
    granted_until: Timestamp,
    acts: Vec<Timestamp>,
    fingerprints: u32,
    touched: usize,
}

/// Of ten numbers one is a task, and one claims to be one.
fn task_of(number: usize) -> TaskOf {
    match number % 10 {
        3 => TaskOf::Service("web".into()),
        7 => TaskOf::Claimed(TaskClaim { service: "web".into(), task: "t".into() }),
        _ => TaskOf::Nobody,
    }
}

impl Model {
    fn say(&mut self, number: usize) -> Word {
        let word = self.truth[number].clone();
        match &word {
            Word::No(_) => {
                self.refused.entry(number).or_insert(self.now);
            }
            Word::Yes | Word::Spared(..) | Word::CannotTell(_) => {
                self.refused.remove(&number);
            }
        }
        word
    }

    fn list(&self) -> Vec<Seen> {
        self.runs.iter().map(|number| Seen { task: task_of(*number), ..seen(*number) }).collect()
    }

    fn round(&mut self, brain: &mut Brain) {
        brain.listed(self.list(), self.now);
        for id in brain.wanted(self.now, 100) {
            let number = usize::from_str_radix(id.as_str(), 16).unwrap();
            let word = self.say(number);
            brain.judged(&id, word, self.now);
        }
    }

    fn act(&mut self, brain: &mut Brain) {
        for id in brain.due(self.now) {
            let number = usize::from_str_radix(id.as_str(), 16).unwrap();
            let before = self.refused.get(&number).copied();
            let word = self.say(number);
            let Some(act) = brain.confirm(&id, word.clone(), self.now) else { continue };
            self.touched += 1;
            assert_eq!(act.container, id);
            assert!(matches!(word, Word::No(_)), "{number} is approved, or cannot be told: {word:?}");
            let twice = before.is_some_and(|before| self.now.duration_since(before) >= CONFIRM);
            assert!(twice, "{number} was not refused twice");
            assert!(self.standing.is_sound && self.standing.is_enforced && self.standing.rule == MonitorRule::Stop);
            assert!(self.now >= later(self.changed, self.standing.pause), "within the pause");
            assert_eq!(task_of(number), TaskOf::Nobody);
            // It did not end, or began again: it is judged anew.
            brain.over(&id, self.now);
            self.refused.remove(&number);
            let is_granted = self.granted.remove(&number) && self.now < self.granted_until;
            assert_eq!(act.is_granted, is_granted);
            if is_granted {
                continue;
            }
            self.acts.push(self.now);
            let now = self.now;
            let recent = self.acts.iter().filter(|at| now.duration_since(**at) < WINDOW).count();
            let limit = (self.runs.len() / 10).clamp(1, 5);
            assert!(recent <= limit, "{recent} of {} within ten minutes", self.runs.len());
        }
    }

    fn step(&mut self, step: Step, brain: &mut Brain) {
        match step {
            Step::Wait(millis) => self.now = later(self.now, SignedDuration::from_millis(millis)),
            Step::Start(number) => {
                self.runs.insert(number);
            }
            Step::End(number) => {
                self.runs.remove(&number);
            }
            Step::Says(number, word) => {
                self.truth[number] = match word {
                    0..=2 => Word::Yes,
                    3 | 4 => no(),
                    6 => forgiven(),
                    7 => superseded(),
                    _ => unsure(),
                }
            }
            Step::Change => {
                self.fingerprints += 1;
                self.standing.fingerprint = Digest::of(&self.fingerprints.to_be_bytes());
                self.changed = self.now;
                self.stands(brain);
            }
            Step::Sound(is_sound) => {
                self.standing.is_sound = is_sound;
                self.stands(brain);
            }
            Step::Enforced(is_enforced) => {
                self.standing.is_enforced = is_enforced;
                self.stands(brain);
            }
            Step::Rule(acts) => {
                self.standing.rule = if acts { MonitorRule::Stop } else { MonitorRule::Report };
                self.stands(brain);
            }
            Step::Scan => brain.scan(self.now),
            Step::Round => self.round(brain),
            Step::Act => self.act(brain),
            Step::Approve(exactly) => {
                let mut ids = brain.awaited(self.now);
                let numbers = ids.iter().map(|id| usize::from_str_radix(id.as_str(), 16).unwrap()).collect();
                if !exactly {
                    // One that is there no more.
                    ids.insert(id(99));
                }
                if brain.approve(ids, self.now) > 0 {
                    (self.granted, self.granted_until) = (numbers, later(self.now, GRANTED));
                }
            }
            Step::Restart => {
                *brain = Brain::new(self.standing, brain.memory(), self.now);
                self.granted.clear();
                self.refused.clear();
            }
        }
    }

    fn stands(&mut self, brain: &mut Brain) {
        if *brain.standing() != self.standing {
            self.granted.clear();
        }
        brain.stand(self.standing, self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is approved at that moment is never touched, nor what cannot be told; nothing within the pause; nothing beyond the brakes.
    #[test]
    fn an_approved_container_is_never_touched(
        steps in proptest::collection::vec(step(), 1..120),
        pause in prop_oneof![Just(0_i64), 1..900_i64],
        first in proptest::collection::vec(0..8_u8, 30),
    ) {
        let standing = standing(MonitorRule::Stop, pause);
        let mut brain = Brain::new(standing, Memory::default(), at(0));
        let mut model = Model {
            now: at(0),
            runs: BTreeSet::new(),
            truth: vec![Word::Yes; 30],
            refused: BTreeMap::new(),
            standing,
            changed: at(0),
            granted: BTreeSet::new(),
            granted_until: at(0),
            acts: Vec::new(),
            fingerprints: 0,
            touched: 0,
        };
        for (number, word) in first.into_iter().enumerate() {
            model.step(Step::Says(number, word), &mut brain);
        }
        for step in steps {
            model.step(step, &mut brain);
        }
    }
}

/// The model above would find nothing wrong with a machine that does nothing: this one acts.
#[test]
fn the_sequences_do_come_to_acts() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let (mut runner, mut touched) = (TestRunner::deterministic(), 0);
    for _ in 0..500 {
        let steps = proptest::collection::vec(step(), 100).new_tree(&mut runner).unwrap().current();
        let standing = standing(MonitorRule::Stop, 0);
        let mut brain = Brain::new(standing, Memory::default(), at(0));
        let truth = (0..30).map(|number| if number % 4 == 0 { no() } else { Word::Yes }).collect();
        let mut model = Model {
            now: at(0),
            runs: BTreeSet::new(),
            truth,
            refused: BTreeMap::new(),
            standing,
            changed: at(0),
            granted: BTreeSet::new(),
            granted_until: at(0),
            acts: Vec::new(),
            fingerprints: 0,
            touched: 0,
        };
        for step in steps {
            model.step(step, &mut brain);
        }
        touched += model.touched;
    }
    assert!(touched > 100, "{touched}");
}
