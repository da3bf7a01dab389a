//! Requests 4 GiB of random bytes from the host in one call.

use jackfield_test_guests::*;

struct RequestsManyRandomBytes;

impl Behaviour for RequestsManyRandomBytes {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let bytes = wasip2::random::random::get_random_bytes(4 << 30);
        Ok(defect(&marker, &format!("{} bytes", bytes.len())))
    }
}

guest!(RequestsManyRandomBytes);
