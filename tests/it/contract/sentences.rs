//! The sentences of the contract with the providers, each with the tests that hold it.
//!
//! Invariants:
//!
//! - Every test that is named here exists, and every test of `contract` is named here.
//! - One sentence stands in one place, with the fewest tests that hold all of it.

use std::{collections::BTreeSet, process::Command};

/// A sentence, and the paths of its tests in this binary.
type Sentence = (&'static str, &'static [&'static str]);

const ROUTES: &[Sentence] = &[
    (
        "each provider has a path, which can be configured",
        &["contract::routes::paths::a_configured_path_may_have_a_trailing_slash_and_doubled_ones"],
    ),
    (
        "ticket_status_update: a bearer token, its scheme in any case",
        &["contract::routes::authentication::the_bearer_token_is_taken_with_its_scheme_in_any_case"],
    ),
    (
        "exactly one Authorization header; a missing, malformed or wrong credential get one and the same answer",
        &["contract::routes::authentication::any_other_authorization_gets_one_and_the_same_answer"],
    ),
    (
        "the bearer token is checked before the body is read",
        &[
            "contract::routes::authentication::the_bearer_token_is_checked_before_the_body_is_read",
            "contract::routes::authentication::an_authenticated_sender_is_asked_for_the_body",
        ],
    ),
    (
        "booking_callback: all of ClientId, UserName and Password, case-sensitive",
        &["contract::routes::authentication::all_three_credentials_of_a_callback_are_needed_to_the_letter"],
    ),
    (
        "ClientId is a number or a string, compared as text",
        &["contract::routes::authentication::a_client_id_is_a_number_or_a_string"],
    ),
    (
        "order_ticketed: the cid, which is the only proof",
        &["contract::routes::authentication::the_cid_of_an_order_is_needed_to_the_letter"],
    ),
    (
        "an address allow-list can be configured on top, behind trusted proxies too",
        &[
            "contract::routes::authentication::addresses::only_the_allowed_networks_may_deliver",
            "contract::routes::authentication::addresses::a_trusted_proxy_says_who_the_client_is",
            "contract::routes::authentication::addresses::the_standard_header_is_believed_as_well",
            "contract::routes::authentication::addresses::the_header_that_the_proxies_do_not_write_counts_for_nothing",
            "contract::routes::authentication::addresses::an_address_that_is_mapped_into_ipv6_is_the_one_that_is_mapped",
            "contract::routes::authentication::addresses::the_wrong_address_is_answered_as_the_wrong_credentials_are",
        ],
    ),
    (
        "comparisons take the same time and look at every account",
        &[
            "abuse::timing::a_change_of_any_byte_makes_no_difference",
            "abuse::timing::neither_the_place_of_an_account_nor_its_absence_makes_a_difference",
            "abuse::timing::a_name_that_is_known_makes_no_difference",
        ],
    ),
    (
        "several accounts are valid at once while a secret is rotated",
        &["contract::routes::authentication::accounts_are_valid_side_by_side_while_a_secret_is_rotated"],
    ),
    (
        "a provider without an account is answered 404, and the log at the start names it",
        &["contract::routes::authentication::a_provider_without_an_account_is_not_there_and_the_log_says_so"],
    ),
    (
        "a trailing slash and doubled slashes make no difference, letter case does",
        &[
            "contract::routes::paths::a_slash_at_the_end_and_doubled_ones_make_no_difference",
            "contract::routes::paths::any_other_path_is_answered_404",
        ],
    ),
    (
        "a POST to any other path is counted, and logged once a minute for each address",
        &["operation::logs::an_unrouted_post_is_counted_and_logged_once_a_minute_for_each_address"],
    ),
    (
        "Content-Type and Accept-Encoding are never a reason to refuse",
        &["inputs::odd_inputs::wire::neither_content_type_nor_accept_encoding_is_a_reason_to_refuse"],
    ),
    ("a body in gzip is accepted", &["inputs::odd_inputs::wire::gzip_is_taken_whatever_the_headers_say"]),
    (
        "the size limit is 256 KiB by default and counts decompressed bytes",
        &[
            "contract::routes::body_limit::the_limit_itself_is_not_too_large_and_one_byte_more_is",
            "contract::routes::body_limit::the_limit_is_the_configured_one",
            "contract::routes::body_limit::a_body_in_chunks_is_too_large_as_soon_as_it_is_beyond_the_limit",
            "contract::routes::body_limit::a_body_that_is_not_read_to_its_end_costs_nobody_the_answer",
        ],
    ),
    (
        "the work of decompressing is bounded",
        &[
            "abuse::hostile_bodies::a_flood_of_costly_bodies_delays_nobody_else",
            "abuse::greedy_clients::what_explodes_when_it_is_decompressed_takes_no_memory",
        ],
    ),
    (
        "another Content-Encoding is answered 415 in the provider's shape, with Accept-Encoding: gzip",
        &[
            "contract::required::readings::another_content_encoding_is_told_which_is_right_and_kept_where_it_proves_itself",
        ],
    ),
    (
        "a body that is not UTF-8 is read as UTF-16, as broken UTF-8 or as Windows-1252, with a warning",
        &["contract::required::readings::a_body_is_read_in_the_encoding_that_it_is_in"],
    ),
];

const ANSWERS: &[Sentence] = &[
    (
        "2xx is sent only when the delivery is durable; else 422 or 503 with Retry-After",
        &[
            "contract::answers::durability::a_missing_table_is_no_success",
            "contract::answers::durability::a_database_that_answers_and_takes_no_row_is_no_success_and_not_ready",
            "contract::answers::durability::a_write_that_takes_too_long_is_no_success",
            "contract::answers::durability::a_database_that_takes_no_writes_is_no_success",
            "contract::answers::durability::a_database_that_is_gone_is_no_success_and_no_answer_to_strangers_changes",
        ],
    ),
    (
        "2xx is always sent when it is durable: a duplicate gets the success answer too",
        &["contract::answers::a_redelivery_is_answered_as_a_success_and_counted"],
    ),
    (
        "an error of the service's own (a panic): as what cannot be made durable now",
        &["contract::panics::a_panic_is_answered_as_not_durable_and_the_connection_goes_on"],
    ),
    ("not authenticated: 401", &["contract::answers::wrong_credentials_get_401_and_leave_nothing_behind"]),
    ("not JSON: 422 or 400", &["contract::answers::a_body_that_is_not_json_is_kept_if_a_header_authenticates_it"]),
    (
        "a required field is missing: 422 with one message per field, in the document's words",
        &["contract::answers::every_required_field_that_is_missing_is_named"],
    ),
    (
        "a required field is of the wrong shape: 422",
        &["contract::answers::a_required_field_of_the_wrong_shape_is_refused_as_a_missing_one_is"],
    ),
    (
        "no ticket number at all: 422 from the one, accepted by the others",
        &["contract::answers::a_delivery_without_tickets_is_refused_by_one_provider_and_recorded_for_the_others"],
    ),
    (
        "booking unknown, where those are rejected: 422 or 404",
        &[
            "contract::answers::an_unknown_booking_is_refused_if_the_configuration_rejects_those",
            "contract::answers::every_booking_is_accepted_by_default",
        ],
    ),
    (
        "another notification type: 200, kept as unsupported_type",
        &["contract::answers::another_notification_type_is_answered_as_a_success_and_kept_unprocessed"],
    ),
    (
        "wrong method: 405 with Allow: POST",
        &[
            "contract::answers::methods::any_other_method_is_answered_405_with_the_allowed_one",
            "contract::answers::methods::head_is_answered_the_same_without_a_body",
        ],
    ),
    (
        "messages are for a person: no secret, internal error text, SQL or file name",
        &["contract::redaction::no_answer_tells_how_the_service_works"],
    ),
    (
        "every answer carries x-request-id, the service's own unless a trusted proxy has given one",
        &["contract::answers::an_answer_has_an_id_of_its_own_or_that_of_a_trusted_proxy"],
    ),
    (
        "an authenticated delivery that is answered with an error is kept with its reason",
        &[
            "contract::answers::unprocessed::the_same_body_again_raises_a_count_whatever_is_wrong_with_it",
            "contract::answers::unprocessed::the_same_body_at_once_through_several_replicas_is_counted",
            "contract::answers::unprocessed::what_was_reprocessed_is_kept_anew_when_it_comes_again",
            "contract::answers::unprocessed::errors_beyond_the_limit_of_an_account_are_counted_and_not_kept",
            "contract::answers::unprocessed::errors_are_kept_up_to_a_limit_of_bytes_and_successes_without_limit",
        ],
    ),
    (
        "it goes the same durable way as an event",
        &[
            "contract::answers::durability::what_has_to_be_kept_unprocessed_is_not_answered_before_it_is",
            "contract::answers::durability::a_row_that_the_database_refuses_for_good_is_kept_unprocessed",
            "contract::answers::unprocessed::the_spool_has_the_same_limit_for_errors_and_takes_all_events",
        ],
    ),
    (
        "an unauthenticated one is never stored: it is counted and logged without its body, with the reason",
        &[
            "contract::routes::authentication::an_unauthenticated_delivery_is_logged_without_its_body",
            "operation::logs::the_line_of_an_error_has_its_reason_and_detail",
        ],
    ),
    (
        "a body that is not JSON is kept where the credentials in it are right, else answered 401 or 400",
        &["contract::required::readings::a_broken_body_is_kept_where_the_credentials_in_it_are_right"],
    ),
    (
        "401 and 400 both count as failed authentications",
        &["abuse::failed_authentication::what_is_no_json_fills_no_log_either"],
    ),
];

const REQUIRED: &[Sentence] = &[
    (
        "ticket_status_update requires a reference and a list with a ticket number, and nothing else",
        &[
            "contract::required::ticket_status_update::the_reference_is_a_non_empty_string_or_a_number",
            "contract::required::ticket_status_update::there_is_a_list_with_at_least_one_ticket",
            "contract::required::ticket_status_update::nothing_else_is_required",
        ],
    ),
    (
        "it is partially ticketed when some passenger has no ticket number",
        &["contract::required::ticket_status_update::it_is_partially_ticketed_when_some_passenger_has_none"],
    ),
    (
        "AirlinesPNR is a list in a string",
        &["contract::required::ticket_status_update::the_airlines_locators_are_a_list_in_a_string"],
    ),
    (
        "DocumentNumber stands in NameElement or in DocumentInfo",
        &["contract::required::ticket_status_update::the_document_number_stands_in_one_of_two_places"],
    ),
    (
        "booking_callback requires BookingId, Status, and with Success also Passengers",
        &[
            "contract::required::booking_callback::the_booking_id_is_a_string_or_a_number",
            "contract::required::booking_callback::the_passengers_are_required_on_a_success_and_expected_on_anything_else",
        ],
    ),
    (
        "Success is ticketed, partially ticketed or confirmed",
        &["contract::required::booking_callback::a_success_means_as_much_as_the_passengers_have_tickets"],
    ),
    (
        "each Status has its meaning in any case, and any other is 422",
        &["contract::required::booking_callback::each_status_has_its_meaning_in_any_case"],
    ),
    (
        "an empty PNR on Failed is normal",
        &["contract::required::booking_callback::no_pnr_is_normal_on_a_failure_and_worth_a_warning_on_a_success"],
    ),
    (
        "order_ticketed requires type, orderNo, orderStatus and paxTicketInfos",
        &["contract::required::order_ticketed::type_and_three_members_of_data_are_required"],
    ),
    (
        "orderStatus is an integer or a string of one, and any number without a meaning is 422",
        &[
            "contract::required::order_ticketed::the_order_status_is_an_integer_or_a_string_of_one",
            "contract::required::order_ticketed::a_ticketed_order_means_as_much_as_the_passengers_have_tickets",
        ],
    ),
    (
        "the top-level status is stored and decides nothing",
        &["contract::required::order_ticketed::the_status_at_the_top_is_stored_and_decides_nothing"],
    ),
    (
        "name is LAST/FIRST MIDDLE; without a slash it is all last name",
        &["contract::required::order_ticketed::a_name_is_last_slash_first_middle"],
    ),
    (
        "dates are YYYYMMDD; a bad one becomes null and a warning",
        &[
            "contract::required::order_ticketed::a_date_is_yyyymmdd_and_a_bad_one_is_null_and_a_warning",
            "contract::required::order_ticketed::no_birth_date_lies_in_the_future",
        ],
    ),
    (
        "passengerType is adult, child, infant or unknown",
        &[
            "contract::required::order_ticketed::the_passenger_type_is_a_number_or_a_code_of_the_trade_and_one_without_a_meaning_is_unknown",
            "contract::required::order_ticketed::gender_and_nationality_are_read_in_any_case_and_as_words",
        ],
    ),
    (
        "all else that a document calls mandatory is expected: without it the delivery is recorded, with a warning",
        &[
            "contract::required::booking_callback::what_else_is_mandatory_is_only_expected_and_what_is_optional_is_not_even_that",
            "contract::required::order_ticketed::every_other_field_that_the_document_requires_is_only_expected",
        ],
    ),
    (
        "each passenger of order_ticketed keeps ancillaries as sent",
        &["contract::required::order_ticketed::ancillaries_are_kept_as_they_were_sent"],
    ),
    (
        "airline_pnrs and ticket_numbers are those of the booking and its passengers, and pnr is the booking's own",
        &[
            "contract::required::ticket_status_update::everything_is_where_consumers_look_for_it",
            "contract::required::booking_callback::everything_is_where_consumers_look_for_it",
            "contract::required::order_ticketed::everything_is_where_consumers_look_for_it",
        ],
    ),
    (
        "unknown fields are kept in the payload and are no error",
        &["contract::required::everywhere::unknown_fields_are_kept_and_are_no_error"],
    ),
    (
        "null counts as missing",
        &[
            "contract::required::everywhere::null_counts_as_missing",
            "contract::required::readings::the_word_null_in_a_string_is_missing_and_a_person_may_be_called_so",
        ],
    ),
    ("strings are trimmed", &["contract::required::everywhere::texts_are_trimmed"]),
    (
        "a number where a string is expected is taken as its digits, never through a float",
        &["contract::required::everywhere::a_number_is_taken_as_its_digits"],
    ),
    (
        "NUL characters are removed with a warning and do not make the delivery fail",
        &[
            "contract::required::everywhere::nul_characters_are_removed_with_a_warning",
            "inputs::odd_inputs::lone_surrogates_and_nul_characters_do_not_make_a_delivery_fail_wherever_they_stand",
        ],
    ),
    (
        "record locators are upper-cased and de-duplicated in order",
        &[
            "contract::required::everywhere::record_locators_are_upper_case",
            "contract::required::readings::several_record_locators_in_one_string_are_several",
        ],
    ),
    (
        "ticket numbers keep what was sent and a normalized form, and are never refused for their format",
        &[
            "contract::required::everywhere::no_form_of_a_ticket_number_is_refused",
            "contract::required::tickets::spaces_and_dashes_of_every_kind_are_no_part_of_a_number",
        ],
    ),
    (
        "ticket numbers are de-duplicated per passenger, and may be shared by passengers",
        &["contract::required::everywhere::ticket_numbers_stand_once_with_each_passenger_and_once_on_the_booking"],
    ),
    (
        "where an array is expected, one value or an object stands for a list, with a warning",
        &[
            "contract::required::lists::whatever_stands_for_a_list_of_passengers_is_read_as_one_with_a_warning",
            "contract::required::lists::an_empty_object_is_an_empty_list_and_any_value_a_list_of_one",
            "contract::required::lists::lists_of_texts_are_read_the_same_way",
        ],
    ),
    (
        "JSON in a string is unpacked, and of a repeated key the last counts, each with a warning",
        &[
            "contract::required::lists::lists_and_objects_in_strings_of_json_are_unpacked",
            "contract::required::lists::json_in_a_string_is_unpacked_with_a_warning",
            "contract::required::everywhere::of_a_repeated_key_the_last_counts_with_a_warning",
            "contract::required::everywhere::a_repeated_list_is_warned_of_once",
        ],
    ),
    (
        "a body is an object",
        &[
            "contract::required::lists::a_body_must_be_an_object_and_is_kept_when_it_is_none",
            "contract::required::lists::a_body_without_any_required_field_is_invalid_or_not_authenticated",
        ],
    ),
    (
        "words that stand for none are none, with a warning",
        &["contract::required::tickets::words_for_none_are_none_with_a_warning"],
    ),
    (
        "several numbers in one string are several",
        &["contract::required::tickets::several_numbers_in_one_string_are_several"],
    ),
    (
        "a conjunction is every number from the first to the last, at most four",
        &["contract::required::tickets::a_conjunction_is_every_number_and_the_first_has_what_was_sent"],
    ),
    (
        "at most 64 tickets a passenger and 2,000 a delivery; more is invalid, and kept",
        &[
            "contract::required::tickets::more_tickets_than_anybody_has_are_refused_and_kept",
            "contract::required::tickets::more_record_locators_than_anybody_has_are_refused_and_kept",
        ],
    ),
];

const DUPLICATES: &[Sentence] = &[
    (
        "volatile members make no difference",
        &["contract::duplicates::what_differs_only_in_volatile_fields_is_a_duplicate"],
    ),
    (
        "white space, escapes and the order of members make no difference",
        &["contract::duplicates::white_space_escapes_and_the_order_of_members_make_no_difference"],
    ),
    (
        "a member that nobody reads makes a difference",
        &["contract::duplicates::whatever_else_differs_is_a_revision_also_where_it_is_normalized_to_the_same"],
    ),
    (
        "what is answered with success is a row of its own or word for word in one",
        &["inputs::properties::of_any_two_deliveries_of_a_booking_that_were_accepted_the_later_one_is_in_the_table"],
    ),
    (
        "a duplicate raises delivery_count and last_received_at, once",
        &[
            "contract::duplicates::a_repetition_that_joins_a_delivery_handed_in_again_is_counted_once",
            "contract::duplicates::a_delivery_handed_in_again_is_found_also_where_the_first_revision_was_removed",
            "contract::duplicates::chains::a_batch_handed_in_again_changes_nothing_wherever_its_answer_was_lost",
        ],
    ),
    ("A, A, B, A gives revisions A, B, A", &["contract::duplicates::only_the_newest_revision_makes_a_duplicate"]),
    (
        "the same delivery sent 50 times at once, to several replicas, gives one revision",
        &["contract::duplicates::equal_deliveries_at_once_to_several_replicas_make_one_revision"],
    ),
    (
        "anything else becomes the next revision, also at once and in one batch",
        &[
            "contract::duplicates::different_deliveries_of_one_booking_at_once_get_a_revision_each",
            "contract::duplicates::chains::a_batch_decides_as_if_its_deliveries_came_one_by_one",
            "contract::duplicates::chains::a_thousand_revisions_of_one_booking_are_one_statement",
        ],
    ),
    (
        "a revision replaces what was known of the booking and is not merged with it",
        &["contract::duplicates::a_revision_replaces_what_was_known_and_is_not_merged_with_it"],
    ),
    (
        "previous_status: a failure sent again is seen once, and a changed one follows a failure",
        &["contract::duplicates::a_failure_sent_again_is_seen_once_and_a_changed_one_follows_a_failure"],
    ),
    (
        "any change away from a final status is recorded and counted",
        &["operation::metrics::any_change_of_a_final_status_is_a_conflict"],
    ),
    (
        "what another replica has overtaken is late, and never the state of the booking",
        &["durability::spool::what_others_have_overtaken_is_late_and_never_the_state"],
    ),
    (
        "times of receipt never run backwards, whatever the machine's clock does",
        &[
            "durability::clock::a_clock_that_is_set_back_makes_nothing_late",
            "durability::spool::damage::times_of_receipt_go_on_behind_what_was_saved",
        ],
    ),
    (
        "a test account never touches a live booking",
        &["contract::duplicates::environments_and_providers_are_apart_and_accounts_are_not"],
    ),
    (
        "a test account never keeps a live delivery from being recorded in time",
        &[
            "abuse::greedy_accounts::where_a_test_account_fills_its_queue_live_deliveries_still_wait_in_theirs",
            "abuse::greedy_accounts::where_a_test_account_fills_its_part_of_the_spool_live_deliveries_have_theirs_and_go_first",
        ],
    ),
    (
        "a spooled delivery is answered with success, and decided when the spool is drained",
        &[
            "durability::spool::a_service_starts_and_receives_without_postgres_and_keeps_it_through_a_kill",
            "durability::spool::a_spooled_delivery_of_an_unknown_booking_is_kept_unprocessed_when_it_is_drained",
            "durability::outage::a_server_that_is_killed",
        ],
    ),
];

const REDACTION: &[Sentence] = &[
    (
        "members that carry credentials are removed, wherever they stand and however they are spelled",
        &[
            "contract::redaction::a_delivery_leaves_no_credential_behind",
            "contract::redaction::credentials_go_however_their_keys_are_written_and_however_often_they_come",
            "contract::redaction::credential_members_go_however_deep_they_stand_in_strings_of_json",
            "durability::spool::no_credential_is_in_the_file",
        ],
    ),
    (
        "credentials are neither logged nor echoed",
        &[
            "contract::redaction::wrong_credentials_are_logged_and_echoed_no_more_than_right_ones",
            "contract::redaction::secrets_in_what_is_logged_of_a_request_are_neither_logged_nor_echoed",
            "contract::redaction::a_misspelled_password_of_the_database_is_not_logged",
            "operation::configuration::secrets_can_be_read_from_files_and_are_never_shown",
        ],
    ),
    (
        "business data is never altered because a part of it looks like a secret",
        &[
            "contract::redaction::business_data::what_normalizing_puts_together_is_business_data_and_stays",
            "contract::redaction::business_data::business_data_is_not_altered_in_the_spool",
            "contract::redaction::business_data::of_a_hundred_thousand_deliveries_no_normalized_field_depends_on_the_secrets",
        ],
    ),
    (
        "in everything else a secret that stands as a word is replaced, the admin token too",
        &[
            "contract::redaction::secrets_go_from_every_other_field_in_any_escaping",
            "contract::redaction::secrets_go_from_what_is_kept_unprocessed",
            "contract::redaction::secrets_go_from_what_is_no_json",
            "contract::redaction::secrets_go_from_json_that_stands_in_a_text",
        ],
    ),
    (
        "a secret that could be data is looked for nowhere but in its member; names of accounts are no secrets",
        &["contract::redaction::business_data::credentials_that_look_like_data_alter_nothing_but_their_members"],
    ),
    (
        "check-config and the log at the start name the accounts of such secrets",
        &[
            "contract::redaction::business_data::accounts_whose_secrets_could_be_data_are_named_and_their_secrets_are_not",
        ],
    ),
    (
        "every replacement leaves a warning that names the member",
        &["contract::redaction::every_replacement_is_warned_of_by_the_name_of_its_member"],
    ),
    (
        "replaced secrets go on being looked for",
        &["operation::reload::secrets_are_rotated_under_load_without_a_delivery_refused"],
    ),
];

/// The paths of all tests in this binary.
fn tests() -> BTreeSet<String> {
    let output = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn every_sentence_is_held_by_tests_and_every_test_of_the_contract_holds_a_sentence() {
    let tests = tests();
    let sentences: Vec<_> = [ROUTES, ANSWERS, REQUIRED, DUPLICATES, REDACTION].concat();
    let named: BTreeSet<_> = sentences.iter().flat_map(|(_, tests)| *tests).map(|test| (*test).to_owned()).collect();
    for (sentence, holding) in &sentences {
        assert!(!holding.is_empty(), "{sentence:?} is held by no test");
        for test in *holding {
            assert!(tests.contains(*test), "{sentence:?} is held by {test}, which does not exist");
        }
    }
    let here = module_path!().split_once("::").unwrap().1;
    let unnamed: Vec<_> = tests
        .iter()
        .filter(|test| test.starts_with("contract::") && !test.starts_with(here) && !named.contains(*test))
        .collect();
    assert!(unnamed.is_empty(), "these tests hold no sentence of the contract: {unnamed:#?}");
}
