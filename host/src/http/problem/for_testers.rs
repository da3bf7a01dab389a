//! The first sentence of a problem that Test Manager shows to a tester. It never contains details:
//! they come after this sentence and are for the administrator.

use crate::domain::OutcomeCode;

/// `None` if a tester can understand the detail of the problem without such a sentence.
pub(super) fn first_sentence(code: OutcomeCode) -> Option<&'static str> {
    use OutcomeCode as Code;
    Some(match code {
        Code::Rejected => {
            "The tracker rejected the request. Please tell the administrator of Jackfield."
        }
        Code::CredentialsRefused => {
            "Jackfield could not sign in to the tracker. Please tell the administrator of \
             Jackfield."
        }
        Code::TrackerUnavailable | Code::TrackerRateLimited => {
            "The tracker does not answer at the moment. Please try again later."
        }
        Code::Unsupported
        | Code::ConnectorFault
        | Code::ConnectorError
        | Code::ConnectorUnavailable
        | Code::CircuitOpen
        | Code::CountTooLarge
        | Code::InternalError => {
            "Jackfield could not handle the request. Please tell the administrator of Jackfield."
        }
        Code::Paused => {
            "The connection to the tracker is paused. Please ask the administrator of Jackfield."
        }
        Code::Overloaded | Code::RunStopped | Code::ShuttingDown | Code::StoreUnavailable => {
            "Jackfield cannot handle the request at the moment. Please try again in a minute."
        }
        Code::OutcomePending => {
            "Jackfield does not know yet whether the defect was created. Please try again later."
        }
        Code::InDoubt => {
            "Jackfield does not know whether the defect was created. Please tell the administrator \
             of Jackfield, who can check the tracker."
        }
        Code::DeadlineExceeded => {
            "The request takes longer than usual and still runs. Please try again in a minute."
        }
        _ => return None,
    })
}
