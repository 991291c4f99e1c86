//! What has a thread when others have all that they may have.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

const TIME: Duration = Duration::from_secs(20);

/// Threads of which each long job of `n` waits until it is let go.
fn busy(long_max: usize, n: usize) -> (Threads, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let threads = Threads::new(long_max, Timeouts::default());
    let (go, gone) = mpsc::channel::<()>();
    let gone = Arc::new(Mutex::new(gone));
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..n {
        let (gone, ran) = (Arc::clone(&gone), Arc::clone(&ran));
        let is_taken = threads.spawn(
            Length::Long,
            Box::new(move |_| {
                ran.fetch_add(1, Ordering::SeqCst);
                assert!(gone.lock().unwrap().recv().is_err());
            }),
        );
        assert!(is_taken);
    }
    crate::rig::until(|| ran.load(Ordering::SeqCst) == n.min(long_max));
    (threads, go, ran)
}

#[test]
fn short_jobs_do_not_wait_for_long_ones() {
    let (threads, go, ran) = busy(2, 10);
    let (tell, told) = mpsc::channel();
    for n in 0..100 {
        let tell = tell.clone();
        assert!(threads.spawn(Length::Short, Box::new(move |_| tell.send(n).unwrap())));
    }
    for _ in 0..100 {
        told.recv_timeout(TIME).expect("it is done");
    }
    assert_eq!(ran.load(Ordering::SeqCst), 2);
    assert!(threads.counts().0 <= 2 + SHORT_MAX);
    drop(go);
    crate::rig::until(|| ran.load(Ordering::SeqCst) == 10);
    threads.close();
}

#[test]
fn a_job_that_becomes_long_leaves_room_for_a_short_one() {
    let (threads, go, _) = busy(40, 3);
    let threads = Arc::new(threads);
    let (tell, told) = mpsc::channel();
    let [begin, end] = [(); 2].map(|()| Arc::new(Barrier::new(SHORT_MAX + 1)));
    for _ in 0..SHORT_MAX {
        let (own, tell) = (Arc::clone(&threads), tell.clone());
        let (begin, end) = (Arc::clone(&begin), Arc::clone(&end));
        let job = move |_: &Interrupt| {
            begin.wait();
            tell.send(own.lengthen()).unwrap();
            end.wait();
        };
        threads.spawn(Length::Short, Box::new(job));
    }
    threads.spawn(Length::Short, Box::new(move |_| tell.send(true).unwrap()));
    crate::rig::until(|| threads.counts().1 == 1);
    begin.wait();
    for _ in 0..=SHORT_MAX {
        assert_eq!(told.recv_timeout(TIME), Ok(true));
    }
    end.wait();
    drop(go);
    threads.close();
}

#[test]
fn no_more_are_long_than_may_be() {
    let (threads, go, _) = busy(3, 3);
    let (tell, told) = mpsc::channel();
    let own = threads.clone();
    threads.spawn(Length::Short, Box::new(move |_| tell.send(own.lengthen()).unwrap()));
    assert_eq!(told.recv_timeout(TIME), Ok(false));
    assert!(threads.lengthen(), "this thread is none of them");
    drop(go);
    threads.close();
}

#[test]
fn queues_and_threads_have_an_end() {
    let (threads, go, _) = busy(1, 1);
    let (stop, stopped) = mpsc::channel::<()>();
    let stopped = Arc::new(Mutex::new(stopped));
    let taken = |length| {
        let wait = || {
            let stopped = Arc::clone(&stopped);
            Box::new(move |_: &Interrupt| {
                assert!(stopped.lock().unwrap().recv().is_err());
            })
        };
        (0..2000).filter(|_| threads.spawn(length, wait())).count()
    };
    assert_eq!(taken(Length::Long), QUEUE_MAX);
    // Those that run wait, all of them.
    assert!(taken(Length::Short) <= QUEUE_MAX + SHORT_MAX);
    let (count, waiting) = threads.counts();
    assert!(count <= 1 + SHORT_MAX, "{count} threads");
    assert!(waiting <= 2 * QUEUE_MAX, "{waiting} wait");
    drop((go, stop));
    threads.close();
    assert_eq!(threads.counts(), (0, 0));
}
