//! The way of a signal to a task: which call comes next when one is refused.
//!
//! A state machine that makes no call itself: it names the next one, and is told the answer. A signal is never sent to a
//! process ID that another process may have by now.

/// A signal on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// This call comes next.
    Next(Call),
    /// It was sent.
    Sent,
    /// The process has ended, or is not a child of this process any more.
    Gone,
    /// It can't be sent. The number is the system's error.
    Failed(i32),
}

/// A call to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Sends the signal to the descriptor of the process.
    SendByDescriptor,
    /// Asks whether the number still belongs to a child that lives.
    AskForChild,
    /// Sends the signal to the number.
    SendByNumber,
}

/// The system's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was sent, or the child lives.
    Yes,
    /// There is no such process, or no such child that lives.
    Gone,
    /// The call is not possible, with this error.
    Refused(i32),
}

impl Delivery {
    /// Begins with the descriptor, if there is one: it can't refer to another process.
    pub const fn begin(has_descriptor: bool) -> Self {
        Self::Next(if has_descriptor { Call::SendByDescriptor } else { Call::AskForChild })
    }

    /// Returns what follows on the answer to the next call.
    pub const fn after(self, answer: Answer) -> Self {
        match (self, answer) {
            (Self::Next(Call::AskForChild), Answer::Yes) => Self::Next(Call::SendByNumber),
            (Self::Next(_), Answer::Yes) => Self::Sent,
            (Self::Next(_), Answer::Gone) => Self::Gone,
            (Self::Next(Call::SendByDescriptor), Answer::Refused(_)) => {
                Self::Next(Call::AskForChild)
            }
            (Self::Next(_), Answer::Refused(error)) => Self::Failed(error),
            (over, _) => over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERS: [Answer; 3] = [Answer::Yes, Answer::Gone, Answer::Refused(1)];

    /// Follows all answers, and returns the number of ends.
    fn follow(delivery: Delivery, calls: &mut Vec<(Call, Answer)>) -> u32 {
        let Delivery::Next(call) = delivery else {
            check(delivery, calls);
            return 1;
        };
        let mut ends = 0;
        for answer in ANSWERS {
            calls.push((call, answer));
            ends += follow(delivery.after(answer), calls);
            calls.pop();
        }
        ends
    }

    /// Checks an end against the calls and answers that led to it.
    fn check(end: Delivery, calls: &[(Call, Answer)]) {
        let is_send = |call| matches!(call, Call::SendByDescriptor | Call::SendByNumber);
        let sent = calls.iter().filter(|&&(call, answer)| is_send(call) && answer == Answer::Yes);
        assert_eq!(sent.count(), usize::from(end == Delivery::Sent), "{calls:?}");
        // To a number only after the system has said that it is the child's.
        for (at, (call, _)) in calls.iter().enumerate() {
            if *call == Call::SendByNumber {
                assert_eq!(calls[at - 1], (Call::AskForChild, Answer::Yes));
            }
        }
        let (last, answer) = calls[calls.len() - 1];
        let expected = match answer {
            Answer::Yes => Delivery::Sent,
            Answer::Gone => Delivery::Gone,
            Answer::Refused(error) => Delivery::Failed(error),
        };
        assert_eq!(end, expected, "{calls:?}");
        assert!(end != Delivery::Failed(1) || last != Call::SendByDescriptor, "gives up early");
        assert_eq!(end.after(Answer::Yes), end, "the end is the end");
    }

    #[test]
    fn r22_all_answers_of_the_system_lead_to_an_end_that_is_told() {
        assert_eq!(follow(Delivery::begin(true), &mut Vec::new()), 2 + 2 + 3);
        assert_eq!(follow(Delivery::begin(false), &mut Vec::new()), 2 + 3);
    }
}
