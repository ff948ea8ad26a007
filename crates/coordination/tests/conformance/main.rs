//! One suite for every adapter of [`slipstream_coordination::Session`] and for the queue and the election above it.
//!
//! The cases know a [`harness::Harness`] only. A new adapter implements it and gets a module below that lists the
//! cases. Cases of queue and election run a second time with faults injected: requests and answers are lost by a
//! seeded plan, and the suite asserts that they were.

#![expect(clippy::unwrap_used, reason = "a case that cannot go on fails")]

mod election;
mod harness;
mod over_zookeeper;
mod queue;
mod queue_batches;
mod queue_faults;
mod queue_gaps;
mod queue_refusals;
mod session;

use harness::{Faulty, Harness, InProcess};
use over_zookeeper::OverZooKeeper;

/// Each case over a harness, as a test of its own, once for each seed.
macro_rules! cases {
    (#[$test:meta] $seeds:expr, $harness:expr => $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(#[$test]
            async fn $case() {
                let mut injected: Option<usize> = None;
                for seed in 0..$seeds {
                    let harness = $harness(seed);
                    crate::$module::$case(&harness).await;
                    injected = harness.injected().map(|more| more + injected.unwrap_or_default());
                }
                assert!(injected.is_none_or(|injected| injected >= 10), "only {injected:?} faults were injected");
            })+
        })+
    };
}

/// What holds for every coordinator.
macro_rules! all_cases {
    (#[$test:meta] $harness:expr) => {
        cases! { #[$test] 1, |_: u64| $harness =>
            session:
                transactions_happen_whole_or_not_at_all, a_refusal_names_the_operation, sequences_rise_per_parent,
                ephemeral_nodes_go_with_their_session, created_orders_creations, requests_of_an_expired_session_fail,
                several_nodes_are_read_at_once, each_of_several_nodes_is_found_or_refused,
                a_watch_tells_changes_in_order, a_gap_ends_with_a_reset, an_overflow_ends_with_one_reset,
                a_watch_ends_with_its_session, a_suspended_session_keeps_its_nodes;
            queue:
                entries_come_by_priority_then_sequence, layout_is_kazoos, priorities_are_checked,
                values_put_together_come_in_their_order, values_are_put_together_or_not_at_all,
                two_takers_get_two_entries,
                each_entry_is_taken_once, expiry_hands_entries_over, a_dropped_claim_is_released,
                a_take_dropped_at_any_await_leaves_nothing, a_consume_dropped_at_any_await_leaves_no_claim,
                a_claim_without_entry_is_consumed, avoided_entries_wait,
                foreign_children_are_passed_over, removal_compares_the_value, consuming_needs_no_holder,
                an_entry_moves_to_another_priority_unless_somebody_holds_it,
                takers_are_served_in_turn, a_taker_that_has_gone_claims_nothing,
                missing_folders_are_made_again, an_abandoned_claim_stays, the_queue_ends_with_its_users,
                a_queue_that_only_puts_reads_nothing, the_length_counts_all_entries,
                a_take_costs_the_same_whatever_waits;
            queue_batches:
                what_waits_shares_requests, the_folder_is_made_anew_before_its_counter_ends, a_failed_transaction_is_settled_item_by_item,
                what_others_do_not_have_is_claimed_by_one_more_transaction, a_taker_is_handed_no_more_than_it_asked_for,
                what_ends_later_has_ended_when_all_is_settled;
            queue_gaps:
                what_comes_while_listing_is_not_missed, a_gap_is_caught_up, an_overflow_is_caught_up,
                a_taker_waits_out_a_suspension, an_unproven_claim_is_consumed_later, a_claim_deleted_by_a_stranger_is_lost,
                a_claim_deleted_in_a_gap_is_lost, a_claim_replaced_unseen_is_not_touched, the_holder_sees_its_entry_vanish,
                the_holder_sees_its_entry_vanish_in_a_gap, a_late_word_of_an_earlier_claim_takes_nothing_away;
            queue_refusals:
                an_entry_that_cannot_be_deleted_is_left_alone;
            queue_faults:
                a_lost_answer_to_a_claim_is_found, a_lost_claim_request_is_repeated, a_lost_answer_to_a_consume_is_done,
                a_lost_answer_to_a_release_touches_no_successor, a_lost_read_after_a_claim_is_repeated;
            election:
                candidates_lead_in_order, layout_is_kazoos, resignation_hands_over, a_dropped_leadership_is_resigned,
                expiry_hands_over, suspension_ends_leadership_for_ever, a_brief_suspension_ends_it_too,
                a_node_deleted_by_a_stranger_ends_leadership, a_dropped_candidacy_leaves_no_node,
                foreign_children_do_not_count, a_candidate_without_a_session_is_told, only_the_next_one_wakes, a_lost_answer_to_the_candidacy_is_adopted,
                never_two_leaders;
        }
    };
}

mod embedded {
    use super::*;

    all_cases! { #[tokio::test(start_paused = true)] InProcess::default() }
}

mod embedded_with_faults {
    use super::*;

    cases! { #[tokio::test(start_paused = true)] 20, |seed| Faulty::over(InProcess::default(), seed) =>
        queue:
            entries_come_by_priority_then_sequence, two_takers_get_two_entries, each_entry_is_taken_once,
            expiry_hands_entries_over, a_dropped_claim_is_released, a_take_dropped_at_any_await_leaves_nothing,
            a_consume_dropped_at_any_await_leaves_no_claim, a_claim_without_entry_is_consumed, avoided_entries_wait,
            foreign_children_are_passed_over;
        queue_gaps:
            a_gap_is_caught_up, a_taker_waits_out_a_suspension, an_unproven_claim_is_consumed_later,
            a_claim_deleted_by_a_stranger_is_lost, a_claim_deleted_in_a_gap_is_lost, the_holder_sees_its_entry_vanish;
        election:
            candidates_lead_in_order, resignation_hands_over, a_dropped_leadership_is_resigned, expiry_hands_over,
            suspension_ends_leadership_for_ever, a_dropped_candidacy_leaves_no_node, never_two_leaders;
    }
}

mod zookeeper {
    use super::*;

    all_cases! { #[tokio::test] OverZooKeeper::default() }
}
