//! What an answer leaves in the account of its session, and in the audit log: refusals, and requests that were cancelled.

use super::answer::{Answerer, Tally};
use super::pattern::join;
use super::status::{Refusal, Status};
use super::wire::{Op, Request};

impl Answerer<'_> {
    /// Accounts for a request that came to no good end as a whole.
    pub(super) fn tell_outcome(&self, request: &Request, outcome: &Result<(), Refusal>, tally: &Tally) {
        match outcome {
            Err(refusal) if refusal.status != Status::Cancelled => {
                self.account_refusal(request, &request.path, refusal);
            }
            Ok(()) if !tally.is_cancelled => {}
            _ => {
                self.account.cancelled.add(1);
                if let Some(audit) = &self.context.audit {
                    audit.cancelled(self.account, request.op, &request.path);
                }
            }
        }
    }

    /// Accounts for a refusal; `path` is relative to the root. What the client cancelled is none.
    pub(super) fn account_refusal(&self, request: &Request, path: &[u8], refusal: &Refusal) {
        if refusal.status == Status::Cancelled {
            return;
        }
        self.account.refused.add(1);
        if let Some(audit) = &self.context.audit {
            audit.refused(self.account, request.op, path, refusal);
        }
    }
}

/// The path, relative to the root, of something that an answer calls `name`: in a tree, names are relative to the tree.
pub(super) fn path_of_item(request: &Request, name: &[u8]) -> Vec<u8> {
    match (request.op, name) {
        (Op::Tree, b".") => request.path.clone(),
        (Op::Tree, _) => join(&request.path, name),
        _ => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::sample::request;

    #[test]
    fn names_in_a_tree_are_below_what_was_asked_for() {
        let tree = request(Op::Tree, b"a/b");
        assert_eq!(path_of_item(&tree, b"c/d"), b"a/b/c/d");
        assert_eq!(path_of_item(&tree, b"."), b"a/b");
        assert_eq!(path_of_item(&request(Op::Tree, b"."), b"c"), b"c");
        assert_eq!(path_of_item(&request(Op::Get, b"a/*"), b"a/c"), b"a/c");
    }
}
