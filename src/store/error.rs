//! Classifies errors of the database by what they mean for a delivery.

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The same delivery may be written later.
    #[error("the database does not take the write: {0}")]
    Unavailable(sqlx::Error),
    /// The row will never be accepted.
    #[error("the database refuses the row: {0}")]
    Refused(sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLSTATE classes that blame the row: data exception, integrity constraint violation, program limit exceeded.
        // A missing table or privilege can be repaired, and is not the delivery's fault.
        let is_due_to_row = match &error {
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
            }
            sqlx::Error::Encode(_) => true,
            _ => false,
        };
        if is_due_to_row { Self::Refused(error) } else { Self::Unavailable(error) }
    }
}

impl StoreError {
    /// Serialization failure or deadlock: the transaction was rolled back in favour of another and can be retried at
    /// once.
    pub(crate) fn is_serialization_failure(&self) -> bool {
        match self {
            Self::Unavailable(error) => is_serialization_failure(error),
            Self::Refused(_) => false,
        }
    }
}

/// See [`StoreError::is_serialization_failure`].
pub(crate) fn is_serialization_failure(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["40001", "40P01"].contains(&code.as_ref()))
}
