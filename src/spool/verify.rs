//! Verifies a file when it is opened.

use redb::ReadableTable;

use super::{
    SpoolError,
    file::{RECORDS, SpoolFile, cost, verified},
    frame::Watermark,
    record,
    salvage::Salvage,
};

impl SpoolFile {
    /// Verifies and counts the records in `redb`, of which none that was acknowledged may be missing.
    ///
    /// `known`: the range of keys when this process closed the file.
    pub(super) fn verify(&mut self, known: Option<Watermark>) -> Result<(), SpoolError> {
        let salvage = Salvage::of(self.raw.try_clone().map_err(SpoolError::io)?).map_err(SpoolError::io)?;
        let watermark = known.map_or(salvage.watermark(), |known| known.max(salvage.watermark()));
        let transaction = self.database()?.begin_write()?;
        let mut table = transaction.open_table(RECORDS)?;
        // a removal that `redb` lost: what is below the watermark is in Postgres
        for record in table.extract_from_if(..watermark.first_pending, |_, _| true)? {
            record?;
        }
        let (mut records, mut bytes, mut newest, mut last) = (0, 0, None, None);
        for entry in table.iter()? {
            let (key, value) = entry?;
            let record = verified(key.value(), last, watermark.first_pending, value.value())?;
            records += 1;
            bytes += cost(&record);
            newest = newest.max(record::received_at(&record));
            last = Some(key.value());
        }
        drop(table);
        transaction.commit()?;
        let Watermark { first_pending, next_key, last_key } = watermark;
        // both name a record that was committed before them
        let acknowledged = known.map_or(last_key, |known| last_key.max(known.last_key));
        if acknowledged >= first_pending && last.is_none_or(|last| last < acknowledged) {
            return Err(SpoolError::Damaged(format!("the records up to {acknowledged} are not all there")));
        }
        let next_key = last.map_or(0, |last| last + 1).max(next_key).max(first_pending);
        let last_key = last.unwrap_or(last_key.max(first_pending - 1));
        (self.records, self.bytes, self.newest) = (records, bytes, newest);
        self.watermark = Watermark { first_pending, next_key, last_key };
        if salvage.end() > next_key {
            self.append_uncommitted(salvage.starting_at(next_key), known.is_some())?;
        }
        Ok(())
    }

    /// Appends what is intact of the last batch before a crash. It was not acknowledged: that its commit was not lost was
    /// verified before. A batch that this process has refused is left out.
    fn append_uncommitted(&mut self, mut salvage: Salvage, is_refused: bool) -> Result<(), SpoolError> {
        let mut records = Vec::new();
        while let Some(intact) = salvage.next_intact().map_err(SpoolError::io)?.filter(|_| !is_refused) {
            records.push(intact.record);
        }
        self.watermark.next_key = salvage.end();
        let newest = records.iter().filter_map(|record| record::received_at(record)).max();
        self.append(&records, u64::MAX)?;
        self.newest = self.newest.max(newest);
        if !records.is_empty() {
            tracing::warn!(spool.records = records.len(), "uncommitted records are taken into the spool");
        }
        self.write_watermark()
    }
}
