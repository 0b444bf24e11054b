//! The schedule beside a model of the feed, the receiver and the database, with crashes between any two steps.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// What happens next. The numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Start,
    Finish(usize, u8),
    Record,
    Skip(usize),
    /// The receiver may have got what was in flight: a bit for each.
    Crash(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..20_usize).prop_map(Step::Read),
        8 => Just(Step::Start),
        8 => (any::<usize>(), any::<u8>()).prop_map(|(which, answer)| Step::Finish(which, answer)),
        6 => Just(Step::Record),
        1 => any::<usize>().prop_map(Step::Skip),
        1 => any::<u8>().prop_map(Step::Crash),
    ]
}

/// The rows of `forwards`, `consumers`, `forward_items` and `forward_skips`.
struct Tables {
    scanned: Cursor,
    position: Cursor,
    items: BTreeMap<Uuid, ForwardItem>,
    skips: HashSet<Uuid>,
}

struct Model {
    feed: Vec<ForwardItem>,
    tables: Tables,
    schedule: Schedule,
    running: Vec<Attempt>,
    finished: Vec<Finished>,
    /// By the receiver: by booking, in the order in which it said yes.
    accepted: HashMap<BookingKey, Vec<Position>>,
    crashes: usize,
    /// Those that the configuration did not ask for any more when they were to be sent again.
    unwanted: HashSet<Uuid>,
    now: Instant,
}

fn is_wanted(item: &ForwardItem) -> bool {
    item.position.sequence % 7 != 0
}

impl Model {
    fn new() -> Self {
        let tables =
            Tables { scanned: Cursor::START, position: Cursor::START, items: BTreeMap::new(), skips: HashSet::new() };
        Self {
            feed: feed(120),
            tables,
            schedule: Schedule::resume(IN_FLIGHT, Cursor::START, Vec::new(), None),
            running: Vec::new(),
            finished: Vec::new(),
            accepted: HashMap::new(),
            crashes: 0,
            unwanted: HashSet::new(),
            now: Instant::now(),
        }
    }

    fn make(&mut self, step: &Step) {
        // every time that is waited for has come
        self.now += Duration::from_secs(24 * 3600);
        match *step {
            Step::Read(count) => self.read(count),
            Step::Start => self.running.extend(self.schedule.next(self.now)),
            Step::Finish(which, answer) if !self.running.is_empty() => {
                let attempt = self.running.swap_remove(which % self.running.len());
                self.finish(&attempt, answer);
            }
            Step::Record => self.record(),
            Step::Skip(which) if !self.tables.items.is_empty() => {
                let id = *self.tables.items.keys().nth(which % self.tables.items.len()).unwrap();
                self.tables.skips.insert(id);
            }
            Step::Crash(received) => self.crash(received),
            Step::Finish(..) | Step::Skip(_) => {}
        }
        assert!(self.running.len() + self.finished.len() <= IN_FLIGHT);
    }

    fn read(&mut self, count: usize) {
        let from = usize::try_from(self.schedule.read_to().position.sequence).unwrap();
        let page: Vec<_> = self.feed.iter().skip(from).take(count).cloned().collect();
        let Some(last) = page.last() else { return };
        let next = cursor(last.position.sequence);
        for item in page.into_iter().filter(is_wanted) {
            self.schedule.add(item, Serialized { kind: "revision", data: String::new() });
        }
        self.schedule.set_read_to(next);
    }

    fn finish(&mut self, attempt: &Attempt, answer: u8) {
        let result = match answer % 8 {
            0 => answered(Outcome::Failed),
            1 => answered(Outcome::TimedOut),
            2 => answered(Outcome::Throttled),
            3 => AttemptResult::Unsent,
            4 if attempt.content.is_none() => {
                self.unwanted.insert(attempt.item.id);
                AttemptResult::Unwanted
            }
            _ => {
                self.accept(&attempt.item);
                answered(Outcome::Delivered)
            }
        };
        self.finished.push(Finished { position: attempt.item.position, result });
    }

    fn accept(&mut self, item: &ForwardItem) {
        self.accepted.entry(item.booking.clone()).or_default().push(item.position);
    }

    fn record(&mut self) {
        let finished = std::mem::take(&mut self.finished);
        let Settled { progress, lanes } = self.schedule.settle(finished, self.now, OffsetDateTime::UNIX_EPOCH, || 0.5);
        let tables = &mut self.tables;
        assert!(progress.scanned.position >= tables.scanned.position, "it never goes back");
        assert!(progress.position.position >= tables.position.position, "it never goes back");
        (tables.scanned, tables.position) = (progress.scanned, progress.position);
        for id in &progress.delivered {
            tables.skips.remove(id);
        }
        for id in progress.delivered.iter().chain(&progress.dropped) {
            tables.items.remove(id);
        }
        for item in progress.kept {
            assert!(item.position <= tables.scanned.position, "what is kept is not read again");
            tables.items.insert(item.id, item);
        }
        for id in tables.skips.iter().filter(|id| tables.items.contains_key(id)) {
            self.schedule.skip(*id);
        }
        self.schedule.release(lanes);
    }

    fn crash(&mut self, received: u8) {
        let running = std::mem::take(&mut self.running);
        for attempt in running.iter().enumerate().filter(|(number, _)| received >> number & 1 == 1).map(|(_, one)| one)
        {
            self.accept(&attempt.item);
        }
        self.finished.clear();
        self.crashes += 1;
        let mut kept: Vec<_> = self.tables.items.values().cloned().collect();
        kept.sort_by_key(|item| item.position);
        self.schedule = Schedule::resume(IN_FLIGHT, self.tables.scanned, kept, None);
        for id in self.tables.skips.iter().filter(|id| self.tables.items.contains_key(id)) {
            self.schedule.skip(*id);
        }
    }

    /// Everything is delivered.
    fn end(&mut self) {
        for _ in 0..2000 {
            self.make(&Step::Read(50));
            self.make(&Step::Start);
            self.make(&Step::Finish(0, 7));
            self.make(&Step::Record);
        }
        let last = cursor(self.feed.len().try_into().unwrap());
        assert_eq!((self.tables.position, self.tables.scanned), (last, last));
        assert!(self.tables.items.is_empty(), "nothing is kept: {:?}", self.tables.items);
        let mut repeated = 0;
        for item in self.feed.iter().filter(|item| is_wanted(item)) {
            let accepted = self.accepted.get(&item.booking).map_or(&[][..], Vec::as_slice);
            let times = accepted.iter().filter(|position| **position == item.position).count();
            let is_dropped = self.tables.skips.contains(&item.id) || self.unwanted.contains(&item.id);
            assert!(times > 0 || is_dropped, "{item:?} never arrived");
            repeated += times.saturating_sub(1);
        }
        assert!(repeated <= self.crashes * IN_FLIGHT, "{repeated} twice after {} crashes", self.crashes);
        for positions in self.accepted.values() {
            let mut first_times = Vec::new();
            positions.iter().for_each(|position| {
                if !first_times.contains(position) {
                    first_times.push(*position);
                }
            });
            assert!(first_times.is_sorted(), "in the order of the booking: {positions:?}");
        }
    }
}

proptest! {
    #[test]
    fn everything_arrives_in_order_and_is_repeated_after_crashes_only(steps in prop::collection::vec(step(), 0..400)) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.make(step));
        model.end();
    }
}
