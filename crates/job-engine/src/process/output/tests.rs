use std::fs;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::os::fd::OwnedFd;

use futures_util::FutureExt as _;

use super::*;

/// Takes so many bytes, then fails until there is room again.
#[derive(Default)]
struct Disk {
    room: usize,
    written: String,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        self.written.push_str(std::str::from_utf8(&bytes[..taken]).unwrap());
        self.room -= taken;
        if taken == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_counted_and_told_once_it_can() {
    let mut writer = Writer::new(Some(Disk { room: 9, ..Disk::default() }));
    for line in ["first\n", "second\n", "third\n", "two\nlines\n"] {
        writer.write(line);
    }
    writer.target.as_mut().unwrap().room = 1_000;
    writer.write("fifth\n");
    writer.write("sixth\n");
    assert_eq!(writer.target.unwrap().written, "first\nsec\n… 4 lines were lost\nfifth\nsixth\n");
}

#[test]
fn what_was_lost_is_told_in_thousands() {
    let mut writer = Writer::new(Some(Disk { room: 1_000, ..Disk::default() }));
    for lost in [0, 1, 1_204, 1_000_000] {
        writer.lose(lost);
    }
    let expected = "… 1 line was lost\n… 1,204 lines were lost\n… 1,000,000 lines were lost\n";
    assert_eq!(writer.target.unwrap().written, expected);
    assert_eq!([0, 12, 123, 12_345].map(in_thousands), ["0", "12", "123", "12,345"]);
}

#[test]
fn what_is_shown_is_below_all_lines_and_drawn_over() {
    let mut writer = Writer::new(Some(Disk { room: 1_000, ..Disk::default() }));
    writer.write_all(["first\n".to_owned()].into(), 0, Some("1 %"));
    writer.write_all([].into(), 0, Some("2 %"));
    writer.write_all(["second\n".to_owned()].into(), 7, Some("2 %"));
    writer.write_all(["third\n".to_owned()].into(), 0, None);
    writer.write_all(["fourth\n".to_owned()].into(), 0, None);
    let expected = [
        "first\n\r1 %\u{1b}[K",
        "\r2 %\u{1b}[K",
        "\r\u{1b}[Ksecond\n… 7 lines were lost\n\r2 %\u{1b}[K",
        "\r\u{1b}[Kthird\n",
        "fourth\n",
    ];
    assert_eq!(writer.target.unwrap().written, expected.concat());
}

static READER: Mutex<Option<PipeReader>> = Mutex::new(None);

fn unread() -> io::Result<File> {
    let (reader, writer) = pipe()?;
    *READER.lock().unwrap() = Some(reader);
    Ok(OwnedFd::from(writer).into())
}

#[test]
fn a_reader_that_does_not_read_keeps_nobody_waiting_and_learns_what_it_has_missed() {
    const LINES: usize = 5_000;
    let queue: &Queue = Box::leak(Box::new(Queue::new("test", unread)));
    for number in 0..LINES {
        queue.put(format!("{number} {}\n", "x".repeat(1_000)));
    }
    assert!(queue.lock().size <= MOST_WAITING);
    queue.flush(Instant::now());
    // the thread opens the pipe before it takes anything
    while READER.lock().unwrap().is_none() {
        thread::yield_now();
    }
    let lines = BufReader::new(READER.lock().unwrap().take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    // every line is read or counted, in its place
    let (mut next, mut lost) = (0, 0);
    while next < LINES {
        let line = lines.next().unwrap();
        if let Some(told) = line.strip_prefix("… ") {
            let missed: usize = told.split(' ').next().unwrap().replace(',', "").parse().unwrap();
            (next, lost) = (next + missed, lost + missed);
        } else {
            assert!(line.starts_with(&format!("{next} ")), "{next} comes next: {line:.20}");
            next += 1;
        }
    }
    assert_eq!(next, LINES);
    assert!((1_000..LINES - 1_000).contains(&lost), "{lost}");
    queue.put("again\n".to_owned());
    assert_eq!(lines.next().unwrap(), "again");
    queue.flush(Instant::now() + Duration::from_mins(1));
    let state = queue.lock();
    assert!(state.waiting.is_empty() && !state.is_writing);
}

#[test]
fn no_line_is_lost_while_the_file_of_the_log_is_rotated() {
    const LINES: usize = 40_000;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.log");
    log_to(&file).unwrap();
    assert!(log_to(&file).is_err(), "a process has one log");
    let mut rotations = 0;
    for number in 0..LINES {
        Log::File.write_all(format!("{number}\n").as_bytes()).unwrap();
        if number % 1_000 == 999 {
            fs::rename(&file, folder.path().join(format!("{rotations}.log"))).unwrap();
            rotations += 1;
            reopen();
            // without a line that comes, too
            let deadline = Instant::now() + Duration::from_mins(1);
            while !file.exists() {
                assert!(Instant::now() < deadline, "the file is made again");
                thread::yield_now();
            }
        }
    }
    FILE.flush(Instant::now() + Duration::from_mins(1));
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        numbers.extend(text.lines().map(|line| line.parse::<usize>().unwrap()));
    }
    numbers.sort_unstable();
    assert_eq!(rotations, 40);
    assert!(numbers.into_iter().eq(0..LINES));
}

#[tokio::test(start_paused = true)]
async fn lines_that_were_dropped_are_told_once_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = File::create(&log).unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(file)).with_ansi(false).finish();
    let _captured = tracing::subscriber::set_default(subscriber);
    let told = || fs::read_to_string(&log).unwrap().matches("lines were dropped within a minute").count();
    let mut waits = std::pin::pin!(warn_of_dropped());
    assert!(waits.as_mut().now_or_never().is_none());
    assert_eq!(dropping("one\ntwo\n"), 2);
    for _ in 0..3 {
        assert_eq!(told(), 0, "not before a minute is over");
        tokio::time::advance(BETWEEN_WARNINGS / 4).await;
        assert!(waits.as_mut().now_or_never().is_none());
    }
    tokio::time::advance(BETWEEN_WARNINGS / 2).await;
    assert!(waits.as_mut().now_or_never().is_none());
    assert_eq!(told(), 1);
}
