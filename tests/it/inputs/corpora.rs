//! The corpora of the fuzz targets, asked what the targets ask (`fuzz/checks`), without a nightly toolchain.

// it is the library of another crate
#[path = "../../../fuzz/checks/lib.rs"]
mod checks;

use std::{fs, path::Path};

/// Asks it of every file of a target.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        // shown when the check fails
        println!("{}", file.display());
        check(&fs::read(&file).unwrap());
        files += 1;
    }
    assert!(files > 0, "there is nothing to replay for {target}");
}

#[test]
fn what_was_found_about_ticket_status_update_holds() {
    replay("ticket_status_update", |data| checks::delivery("ticket_status_update", data));
}

#[test]
fn what_was_found_about_booking_callback_holds() {
    replay("booking_callback", |data| checks::delivery("booking_callback", data));
}

#[test]
fn what_was_found_about_order_ticketed_holds() {
    replay("order_ticketed", |data| checks::delivery("order_ticketed", data));
}

#[test]
fn what_was_found_about_configuration_files_holds() {
    replay("configuration", checks::configuration);
}

#[test]
fn what_was_found_about_the_records_of_the_spool_holds() {
    replay("spool_record", checks::spool_record);
}
