//! The first sentence of a problem that Test Manager shows to a tester: what happened, and whom to
//! tell. The details after it are for the admin.

use crate::domain::OutcomeCode;

/// The sentence for a problem; `None` if its detail needs no introduction.
pub(super) fn first_sentence(code: OutcomeCode) -> Option<&'static str> {
    use OutcomeCode as Code;
    Some(match code {
        Code::Rejected => {
            "The tracker did not accept this. Please tell the administrator of Jackfield."
        }
        Code::CredentialsRefused => {
            "Jackfield could not sign in to the tracker. Please tell its administrator."
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
        | Code::InternalError => "Jackfield could not do this. Please tell its administrator.",
        Code::Paused => {
            "The connection to the tracker is paused. Please ask the administrator of Jackfield."
        }
        Code::Overloaded | Code::RunStopped | Code::ShuttingDown | Code::StoreUnavailable => {
            "Jackfield cannot do this at the moment. Please try again in a minute."
        }
        Code::OutcomePending => {
            "It is not yet known whether the defect was created. Please try again later."
        }
        Code::InDoubt => {
            "It is not known whether the defect was created. Please tell the administrator of \
             Jackfield, who can decide it."
        }
        Code::DeadlineExceeded => {
            "This takes longer than usual and goes on. Please try again in a minute."
        }
        _ => return None,
    })
}
