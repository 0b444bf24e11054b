-- Erasing personal data. docs/privacy.md describes it, src/erase.rs has its invariants.

alter table ticket_events add column erased_at timestamptz;

comment on column ticket_events.erased_at is 'When personal data was last erased; null: never. The payload is then the JSON null and the remark null; passengers have no names, documents, birth dates, genders, nationalities and ancillaries, all of them or the erased person alone.';
comment on column ticket_events.payload is 'The JSON as it was sent, without the credentials; elsewhere a configured secret that is a whole word is [redacted]. The JSON null once it was erased. json, because jsonb refuses \u0000 and lone surrogates.';
comment on column ticket_events.remark is 'Free text of the provider; for failed and aborted the reason. Null once it was erased.';

alter table unprocessed_deliveries add column erased_at timestamptz;

comment on column unprocessed_deliveries.erased_at is 'When the body was erased, which is empty since; null: it was not. It cannot be reprocessed any more.';

-- for what is erased by age
create index unprocessed_deliveries_not_erased on unprocessed_deliveries (received_at) where erased_at is null;

comment on table consumers is 'Named positions in the feed. search and retention are the service''s own.';

create table erasures (
    id                     uuid primary key,
    subject                text not null check (subject in ('booking', 'name', 'document', 'age')),
    requested_by           text not null check (requested_by in ('command', 'api', 'retention')),
    provider               text,
    environment            text check (environment in ('test', 'live')),
    booking_ref            text check ((booking_ref is not null) = (subject = 'booking')),
    received_before        timestamptz check ((received_before is not null) = (subject = 'age')),
    events                 integer not null default 0,
    unprocessed_deliveries integer not null default 0,
    started_at             timestamptz not null default now(),
    finished_at            timestamptz
);

-- where retention goes on
create index erasures_retention on erasures (received_before) where requested_by = 'retention' and finished_at is not null;

comment on table erasures is 'What personal data was erased, and when: one row for each request, and for each time that retention found something. Never a name or the number of a document.';
comment on column erasures.id is 'A UUIDv7.';
comment on column erasures.subject is 'booking: of one booking. name, document: of one person. age: everything received before a time.';
comment on column erasures.requested_by is 'command: ticket-webhooks erase. api: POST /v1/erasures. retention: privacy.retention_days.';
comment on column erasures.provider is 'Of a booking, where it was named; null: of any provider.';
comment on column erasures.environment is 'Of a booking, where it was named; null: of both.';
comment on column erasures.booking_ref is 'Of a booking: as in ticket_events.';
comment on column erasures.received_before is 'Of an age: what was received before this time.';
comment on column erasures.events is 'The number of events from which something was erased.';
comment on column erasures.unprocessed_deliveries is 'The number of unprocessed deliveries whose body was erased.';
comment on column erasures.started_at is 'When the first of them was erased.';
comment on column erasures.finished_at is 'When nothing was left to erase; null: it was interrupted, and is to be asked for again.';

-- Passengers without the personal data of one person, found by all words of a name or by a document (normalized as search
-- keys are), or of everybody when both are null. What is not named here is erased.
create function erased_passengers(passengers jsonb, name_words text[], document text) returns jsonb
language sql stable parallel safe
return coalesce((
    select jsonb_agg(
        case
            when case
                when name_words is not null then search_name_words(
                    concat_ws(' ', passenger ->> 'first_name', passenger ->> 'middle_name', passenger ->> 'last_name')
                ) @> name_words
                when document is not null then search_document_number(passenger #>> '{document,number}') = document
                else true
            end
            then coalesce(
                (
                    select jsonb_object_agg(member.key, member.value)
                    from jsonb_each(passenger) as member
                    where member.key in ('type', 'tickets', 'airline_pnrs')
                ),
                '{}'
            )
            else passenger
        end
        order by position
    )
    from jsonb_path_query(passengers, '$[*]') with ordinality as listed (passenger, position)
), '[]');

comment on function erased_passengers is 'Passengers without the personal data of a person, or of everybody.';

-- Whether an event holds personal data of the person, or of anybody when both are null.
create function is_erasable(erased_at timestamptz, passengers jsonb, name_words text[], document text) returns boolean
language sql stable parallel safe
return case
    when erased_at is null and name_words is null and document is null then true
    else erased_passengers(passengers, name_words, document) <> passengers
end;

comment on function is_erasable is 'Whether there is something to erase from an event.';
