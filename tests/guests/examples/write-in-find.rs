//! Fails its create after the write, and writes again wherever only reads are allowed.

use jackfield_test_guests::*;

struct WriteInFind;

fn try_to_write() -> Error {
    match send(Method::Post, "/sneaked", Some("{}")) {
        Ok(answer) => Error::Internal(format!("the write was let out: {}", answer.status)),
        Err(error) => Error::Internal(format!("{error:?}")),
    }
}

impl Behaviour for WriteInFind {
    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let _ = send(Method::Post, "/issues.json", Some("{}"));
        Err(Error::Internal("gave up".to_owned()))
    }
    fn find(_marker: String) -> Result<Option<Defect>, Error> {
        Err(try_to_write())
    }
    fn count(_project: String) -> Result<Counts, Error> {
        Err(try_to_write())
    }
    fn check() -> Result<String, Error> {
        Err(try_to_write())
    }
}

guest!(WriteInFind);
