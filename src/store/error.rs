//! What an error of the database means for a delivery.

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not take writes now; the same delivery may be written later.
    #[error("the database does not take the write: {0}")]
    Unavailable(sqlx::Error),
    /// The database will never take this row.
    #[error("the database refuses the row: {0}")]
    Refused(sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // Of the classes of SQLSTATE only these speak of the row: data exception, integrity constraint violation,
        // program limit exceeded. A missing table or privilege is not the delivery's fault and can be mended.
        let speaks_of_the_row = match &error {
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
            }
            sqlx::Error::Encode(_) => true,
            _ => false,
        };
        if speaks_of_the_row { Self::Refused(error) } else { Self::Unavailable(error) }
    }
}

impl StoreError {
    /// Whether the database gave this transaction up for another's sake, so that it can be tried again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| ["40001", "40P01"].contains(&code.as_ref()))
            }
            _ => false,
        }
    }
}
