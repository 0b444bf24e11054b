//! What is in a file when it is opened.

use redb::ReadableTable;

use super::{
    SpoolError,
    file::{File, RECORDS, cost, verified},
    record,
    salvage::Salvage,
};

impl File {
    /// Counts what is in the tree, verifies it, and compares it with the frames that lie in the file: a tree may be
    /// sound and yet be the one of a commit before.
    pub(super) fn survey(&mut self, ended_at: Option<u64>) -> Result<(), SpoolError> {
        let found = Salvage::of(self.raw.try_clone().map_err(SpoolError::io)?).map_err(SpoolError::io)?;
        let mark = found.mark();
        let transaction = self.database()?.begin_write()?;
        let mut table = transaction.open_table(RECORDS)?;
        // a removal that was not committed was of what is in Postgres
        for record in table.extract_from_if(..mark.low, |_, _| true)? {
            record?;
        }
        let (mut records, mut bytes, mut newest, mut last) = (0, 0, None, None);
        for entry in table.iter()? {
            let (key, value) = entry?;
            let record = verified(key.value(), last, mark.low, value.value())?;
            records += 1;
            bytes += cost(&record);
            newest = newest.max(record::received_at(&record));
            last = Some(key.value());
        }
        drop(table);
        transaction.commit()?;
        let next = last.map_or(0, |last| last + 1).max(mark.next).max(mark.low);
        (self.records, self.bytes, self.newest) = (records, bytes, newest);
        (self.low, self.last, self.next) = (mark.low, last.unwrap_or(mark.previous.max(mark.low - 1)), next);
        if found.end() > next {
            self.take_in_uncommitted(found.starting_at(next), ended_at.is_some())?;
        }
        Ok(())
    }

    /// The last batch before a crash, whose commit nobody knows of: it may have been acknowledged when the header of
    /// the file is damaged. What this process has refused is left out.
    fn take_in_uncommitted(&mut self, mut found: Salvage, is_refused: bool) -> Result<(), SpoolError> {
        let mut records = Vec::new();
        while let Some(whole) = found.next_whole().map_err(SpoolError::io)?.filter(|_| !is_refused) {
            records.push(whole.record);
        }
        self.next = found.end();
        let newest = records.iter().filter_map(|record| record::received_at(record)).max();
        match self.append(&records, u64::MAX) {
            Ok(()) => self.newest = self.newest.max(newest),
            // nobody has a receipt for them
            Err(SpoolError::Disk(error)) => {
                tracing::warn!(%error, "what was not committed is not taken into the spool");
            }
            Err(error) => return Err(error),
        }
        if !records.is_empty() {
            tracing::warn!(records = records.len(), "records that were being written are taken into the spool");
        }
        self.write_mark()
    }
}
