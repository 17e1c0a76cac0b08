//! The one list of all behaviours.
//!
//! The class of a behaviour says what it needs from a way in and from a build:
//!
//! | class | needs |
//! | --- | --- |
//! | `base` | lookups and scans |
//! | `sql` | queries |
//! | `following` | a handle that sees later commits by itself |
//! | `following_sql` | both |

/// Hands the behaviours of one class to a macro: `(arguments) module { name … } …`.
#[doc(hidden)]
#[macro_export]
macro_rules! __behaviours {
    (base, $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            appends {
                many_batches_of_many_columns
                rows_are_added
                columns_are_matched_by_name
                a_missing_column_is_refused
                an_extra_column_is_refused
                another_type_is_refused
                a_key_twice_in_the_rows_is_refused
                a_key_of_the_table_is_refused
                a_null_key_is_refused
                a_null_in_a_required_column_is_refused
                a_reader_that_fails_adds_nothing
                a_wrong_batch_refuses_all
                metadata_is_no_difference
                a_dropped_table_takes_no_rows
                threads_append_together
            }
            changes {
                changes_lead_to_the_newest_rows
                a_table_that_takes_the_place_of_another_begins_with_no_rows
                without_commits_there_are_no_changes
                deleted_keys_have_their_columns
                a_keyless_table_tells_what_came
                forgotten_and_strange_versions_are_refused
                a_subscription_follows
            }
            columns {
                null boolean
                int8 int16 int32 int64
                uint8 uint16 uint32 uint64
                float16 float32 float64
                utf8 large_utf8 utf8_view
                binary large_binary binary_view fixed_size_binary
                date32 date64
                time32_second time32_millisecond time64_microsecond time64_nanosecond
                timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
                timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
                duration_second duration_millisecond duration_microsecond duration_nanosecond
                interval_year_month interval_day_time interval_month_day_nano
                decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale decimal256
                list large_list fixed_size_list structure map list_of_structure required_children
                views_into_shared_buffers
                required_columns_stay_required
                encodings_are_decoded
                unions_are_refused_by_name
                shapes_that_cannot_be_joined_are_refused
                a_value_is_read_as_its_type_only
            }
            composite_keys {
                every_combination_is_found_or_not
                parts_are_in_the_order_of_the_key
                a_key_needs_all_its_parts
                rows_are_ordered_part_by_part
                text_parts_do_not_run_into_each_other
                eight_parts_make_a_key
                only_all_parts_together_are_unique
            }
            concurrency {
                first_reads_together
            }
            definitions {
                a_table_knows_its_definition
                defining_again_changes_nothing
                another_definition_is_refused
                threads_may_define_the_same_table
                a_wrong_definition_is_refused
                two_columns_of_one_name_are_refused
                an_order_by_nested_values_is_refused
                a_dropped_table_is_gone
                dropping_an_unknown_table_is_refused
                a_hundred_tables
            }
            extremes {
                types_come_back_or_are_refused
                keys_are_answered_or_refused
                values_can_be_shown
            }
            errors {
                codes_keep_their_numbers
                numbers_name_one_code_each
                an_error_carries_its_causes
                requests_have_their_codes
            }
            float_keys {
                every_float64_is_its_own_key
                every_float32_is_its_own_key
                a_float32_key_is_exact
                an_integer_is_no_float_key
                equal_bits_are_a_duplicate
            }
            handles {
                a_scan_keeps_its_version
                a_closed_cache_reads_on
            }
            key_text {
                a_date_is_found_by_text
                a_timestamp_is_found_by_text
                a_timestamp_is_found_in_other_units
                a_zoned_timestamp_is_found_by_text
                a_time_is_found_by_text
                a_decimal_is_found_in_every_form
            }
            key_types {
                boolean
                int8 int16 int32 int64
                uint8 uint16 uint32 uint64
                utf8 large_utf8 utf8_view
                binary large_binary binary_view fixed_size_binary
                date32 date64
                time32_second time32_millisecond time64_microsecond time64_nanosecond
                timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
                timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
                decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale
                durations_are_written_as_integers
                a_duplicate_is_named_for_every_type
                other_types_are_refused
            }
            keys {
                a_present_key_is_found
                an_absent_key_gives_no_row
                keys_and_gaps_alternate
                an_empty_table_has_no_key
                a_null_key_is_refused
                a_key_of_the_wrong_length_is_refused
                a_key_of_the_wrong_type_is_refused
                an_integer_out_of_range_is_refused
                a_table_without_a_key_refuses_lookups
                many_keys_keep_their_order
                one_wrong_key_refuses_all
                every_rust_integer_is_a_key
                a_key_can_be_written_in_many_ways
                similar_texts_are_different_keys
                long_keys_are_told_apart
                the_key_may_be_the_last_column
            }
            merging {
                interleaved_keys
                arrival_order_is_kept
                duplicates_are_refused_throughout
                another_order_is_kept
                every_type_is_written_again
            }
            names {
                any_text_names_a_table
                any_text_names_a_column
                the_nearest_table_is_named
            }
            reopening {
                an_empty_cache
                every_kind_of_write
                writes_and_openings_alternate
                tables_of_several_openings
                a_clean_close_leaves_no_damage
            }
            deletes {
                rows_are_deleted
                absent_keys_are_no_error
                deleted_keys_can_come_again
                a_table_is_truncated
                what_does_not_fit_is_refused
            }
            policies {
                append_only
                fed_by_a_source
                invalidated_rows_are_gone
                another_policy_is_refused
            }
            retention {
                old_rows_go
                many_old_rows_go
                subscribers_are_told
                what_tells_no_age_is_refused
            }
            staleness {
                old_rows_are_refused
                other_calls_answer
                another_bound_is_refused
            }
            replaces {
                rows_are_replaced
                the_same_keys_may_come_again
                a_table_may_be_emptied
                a_failed_replacement_changes_nothing
                other_tables_stay
            }
            transactions {
                tables_change_together
                all_or_nothing
                changes_are_made_in_order
                a_replacement_with_upserts
                positions_of_sources_are_kept
            }
            uneven_rows {
                appended
                upserted
                replaced
                committed
            }
            upserts {
                rows_are_added_and_replaced
                many_small_commits
                the_last_of_equal_keys_counts
                many_rows_at_once
                another_order
                composite_keys
                every_type_is_logged
                what_does_not_fit_is_refused
                a_snapshot_keeps_what_was_replaced
                many_changes_in_a_row
            }
            rows {
                by_name_and_by_position
                an_unknown_column_is_refused
                a_held_row_stays_as_it_was
                a_row_prints_its_values
                a_row_knows_its_version
            }
            snapshots {
                appends_are_not_seen
                replacements_are_not_seen
                dropped_tables_are_still_there
                later_tables_are_not_there
                several_versions_are_held
                a_snapshot_outlives_closing
                descriptions_are_of_the_version
            }
            streams {
                a_scan_dropped_half_way
                a_scan_as_a_stream
                an_answer_moves_between_threads
                a_held_batch_stays_as_it_was
            }
            tables {
                an_empty_table
                empty_batches_count_for_nothing
                one_row
                rows_across_batches
                rows_across_batches_keep_their_order
                rows_across_segments
                a_thousand_columns
                values_of_a_megabyte
                an_order_other_than_the_key
                an_order_without_a_key
                a_scan_of_some_columns
            }
            versions {
                every_commit_is_one_version
                reading_and_failing_make_no_version
                a_later_version_includes_an_earlier
                versions_survive_a_clean_close
                answers_say_their_version
                freshness_is_within_the_call
                freshness_goes_with_the_table
                age_is_the_time_since
            }
        }
    };
    (sql, $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            upserts {
                queries_see_the_same
            }
            staleness {
                queries_of_old_rows_are_refused
            }
            delegation {
                queries_are_those_of_a_full_copy
                rows_are_those_of_a_full_copy
            }
            column_queries {
                null boolean
                int8 int16 int32 int64
                uint8 uint16 uint32 uint64
                float16 float32 float64
                utf8 large_utf8 utf8_view
                binary large_binary binary_view fixed_size_binary
                date32 date64
                time32_second time32_millisecond time64_microsecond time64_nanosecond
                timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
                timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
                duration_second duration_millisecond duration_microsecond duration_nanosecond
                interval_year_month interval_day_time interval_month_day_nano
                decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale decimal256
                list large_list fixed_size_list structure map list_of_structure required_children
                a_column_of_nulls
                long_texts_that_begin_alike
            }
            composite_keys {
                queries_by_parts_agree
            }
            errors {
                queries_have_their_codes
                parameters_have_their_code
            }
            casts {
                times_of_timestamps
                local_times_of_moments
                booleans_of_numbers
                opposites_of_the_smallest_integer
                values_of_rows_that_are_gone
            }
            conditions {
                several_conditions_on_one_key
                a_list_of_thousands_of_keys
                values_of_other_types
                segments_left_out_hold_no_row
            }
            extremes {
                parameters_are_answered_or_refused
            }
            filters {
                random_conditions
                random_key_conditions
            }
            float_keys {
                queries_compare_float64_as_sql_does
                queries_compare_float32_as_sql_does
            }
            inverses {
                orders_of_columns_in_conditions
            }
            joins {
                inner
                outer
                with_conditions_on_keys
                with_and_without_a_partner
                with_itself
                three_tables_grouped
            }
            modifications {
                tables_are_made_and_filled
                tables_that_exist
                rows_are_inserted
                queries_keep_their_types
                nothing_to_change_is_no_commit
                keys_that_are_there
                rows_are_updated
                rows_are_deleted
                other_statements_are_refused
                rules_hold_for_statements
                updates_of_many_threads_all_count
                many_rows_are_changed
            }
            key_queries {
                boolean
                int8 int16 int32 int64
                uint8 uint16 uint32 uint64
                utf8 large_utf8 utf8_view
                binary large_binary binary_view fixed_size_binary
                date32 date64
                time32_second time32_millisecond time64_microsecond time64_nanosecond
                timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
                timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
                decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale
            }
            key_text {
                queries_read_text_as_lookups_do
            }
            merging {
                queries_see_every_row_once
            }
            names {
                queries_find_quoted_names
                queries_find_quoted_columns
                queries_name_the_nearest
            }
            parameters {
                their_number_must_match
                their_numbers_have_no_gaps
                a_parameter_may_be_used_twice
                types_must_fit
                null_equals_nothing
                text_stands_for_moments
                every_kind_goes_through
                text_is_never_sql
                they_stand_anywhere
            }
            points {
                each_text_finds_its_own_row
                quotes_end_where_they_end
                another_kind_of_parameter_is_judged_anew
            }
            prepared {
                runs_with_other_parameters
                threads_share_a_statement
                a_refused_run_does_no_harm
                a_run_at_a_snapshot
                a_snapshot_of_another_cache_is_refused
                now_is_not_frozen
                random_is_not_frozen
            }
            queries {
                columns_and_expressions
                order_limit_and_offset
                groups
                counts_and_bounds
                distinct_values
                windows
                subqueries_and_sets
                conditions_and_patterns
                queries_across_batches
                queries_by_another_order
                limits_within_queries
            }
            reopening {
                queries_after_an_opening
            }
            snapshots {
                queries_are_of_the_version
                queries_of_many_small_commits
            }
            sorted_ranges {
                boolean
                int8 int16 int32 int64
                uint8 uint16 uint32 uint64
                utf8 large_utf8 utf8_view
                binary large_binary binary_view fixed_size_binary
                date32 date64
                time32_second time32_millisecond time64_microsecond time64_nanosecond
                timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
                timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
                decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale
                floats
                a_small_range_reads_few_rows
            }
            statements {
                writing_statements_are_refused
                a_file_is_no_table
                several_statements_are_refused
                tables_and_columns_are_described
                plans_are_explained
                plans_say_what_is_left_out
                a_lookup_stays_on_one_thread
                statements_beyond_the_limits_are_refused
            }
            streams {
                a_large_answer
                queries_dropped_while_running
                a_query_as_a_stream
                streams_dropped_while_running
                several_answers_in_turns
                an_error_ends_an_answer
                a_hundred_open_answers
            }
            versions {
                a_query_is_as_fresh_as_its_oldest_table
            }
            zeros {
                groups_of_sorted_zeros
                keys_of_both_zeros
                first_rows_of_sorted_zeros
                first_of_distinct_zeros
            }
        }
    };
    (following, $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            concurrency {
                reads_beside_replacements
                versions_never_go_back
            }
            handles {
                a_table_follows_the_newest_version
                a_cache_follows_the_newest_version
                a_handle_of_a_dropped_table_fails
                clones_are_the_same_cache
            }
        }
    };
    (following_sql, $callback:ident $arguments:tt) => {
        $crate::$callback! { $arguments
            concurrency {
                a_query_reads_one_version
                prepared_queries_beside_replacements
            }
            points {
                the_newest_table_is_found
                lookups_beside_upserts
            }
            prepared {
                a_run_sees_the_newest_rows
                a_redefined_table_is_found_again
                a_run_sees_the_newest_tables
            }
        }
    };
}
