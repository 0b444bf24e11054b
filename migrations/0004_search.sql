-- Search keys: events are found by what they are about. docs/searching.md describes the questions, src/store/search.rs how
-- they are answered. The keys are filled behind the recording, by the consumer `search`.

-- Letters, digits and cases of all scripts; a database with the locale C knows those of ASCII only.
do $$
declare
    best text;
begin
    select quote_ident(collname) into best
    from pg_collation
    where collname in ('und-x-icu', 'pg_c_utf8', 'C.utf8', 'C.UTF-8')
    and collnamespace = 'pg_catalog'::regnamespace
    and getdatabaseencoding() = 'UTF8'
    order by array_position(array['und-x-icu', 'pg_c_utf8', 'C.utf8', 'C.UTF-8'], collname::text)
    limit 1;
    execute format('create collation search_letters from %s', coalesce('pg_catalog.' || best, 'pg_catalog."C"'));
end
$$;

create table search_keys (
    kind         text collate "C" not null check (kind in ('pnr', 'ticket', 'name', 'document', 'class')),
    key          text collate "C" not null check (length(key) between 1 and 200),
    generation   integer not null,
    recorded_xid xid8 not null,
    sequence     bigint not null,
    received_at  timestamptz not null,
    primary key (kind, key, generation, recorded_xid, sequence)
);

-- for questions by time
create index search_keys_received on search_keys (received_at) include (key, generation, recorded_xid, sequence)
    where kind = 'class';

-- random inserts: the table is read by its indexes only
alter table search_keys set (autovacuum_vacuum_insert_scale_factor = 0.05);

comment on table search_keys is 'What the events up to the position of the consumer search can be found by: one row for each key of an event.';
comment on column search_keys.kind is 'pnr: a record locator or the booking number. ticket: a ticket number. name: a word of a passenger''s name. document: the number of an identity document. class: environment/provider/status, one for each event.';
comment on column search_keys.key is 'The key, normalized, at most 200 characters.';
comment on column search_keys.generation is 'The event: as in ticket_events.';
comment on column search_keys.recorded_xid is 'The event: as in ticket_events.';
comment on column search_keys.sequence is 'The event: as in ticket_events.';
comment on column search_keys.received_at is 'As in ticket_events.';

insert into consumers (name, position) values ('search', '0.0.0.00000000.0');

-- Text in lower case, without accents and other marks, and with the letters that have none to remove as tickets write them.
create function search_plain_letters(text text) returns text
language plpgsql stable parallel safe as $$
declare
    found text collate search_letters := text;
    letter text[];
begin
    if getdatabaseencoding() = 'UTF8' then
        found := normalize(found, nfkd);
    end if;
    found := lower(regexp_replace(
        found,
        '[\u0300-\u036F\u0483-\u0489\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7\u0610-\u061A'
        '\u064B-\u065F\u0670\u06D6-\u06DC\u06DF-\u06E4\u06E7\u06E8\u06EA-\u06ED\u0900-\u0903\u093A-\u093C'
        '\u093E-\u094F\u0951-\u0957\u0981-\u0983\u09BC\u09BE-\u09CD\u0A01-\u0A03\u0A3C-\u0A51\u0A81-\u0A83'
        '\u0ABC\u0ABE-\u0ACD\u0B82\u0BBE-\u0BCD\u0C00-\u0C04\u0C3C\u0C3E-\u0C56\u0C81-\u0C83\u0CBC'
        '\u0CBE-\u0CD6\u0D00-\u0D03\u0D3B\u0D3C\u0D3E-\u0D4D\u0DCA-\u0DDF\u0E31\u0E34-\u0E3A\u0E47-\u0E4E'
        '\u0EB1\u0EB4-\u0EBC\u0EC8-\u0ECD\u102B-\u103E\u17B4-\u17D3\u1AB0-\u1AFF\u1DC0-\u1DFF\u200C\u200D'
        '\u20D0-\u20FF\u3099\u309A\uFE20-\uFE2F]',
        '', 'g'
    ));
    foreach letter slice 1 in array array[
        ['[\u00DF\u1E9E]', 'ss'], ['[\u00E6\u00C6]', 'ae'], ['[\u0153\u0152]', 'oe'], ['[\u00FE\u00DE]', 'th'],
        ['\u0131', 'i'], ['[\u00F8\u00D8]', 'o'], ['[\u0111\u0110\u00F0\u00D0]', 'd'], ['[\u0142\u0141]', 'l'],
        ['[\u0127\u0126]', 'h'], ['[\u0167\u0166]', 't'], ['[\u014B\u014A]', 'n']
    ] loop
        found := regexp_replace(found, letter[1], letter[2], 'g');
    end loop;
    return found;
end
$$;

comment on function search_plain_letters is 'Text in lower case and without accents, and without letters that are written otherwise where only ASCII can be.';

-- The words of a name: lower case, without accents and other marks, divided at everything that is no letter or digit.
create function search_name_words(name text) returns text[]
language sql stable parallel safe
return (
    select coalesce(array_agg(distinct left(word, 200)), '{}')
    from regexp_split_to_table(
        case when name ~ '[^\u0001-\u007F]' then search_plain_letters(name) else lower(name) end collate search_letters,
        '[^[:alnum:]]+'
    ) as word
    where word <> ''
);

comment on function search_name_words is 'The words by which a name is found: lower case, without accents, each once.';

-- A record locator or booking number as a key.
create function search_locator(locator text) returns text
language sql stable parallel safe
return left(upper(btrim(locator) collate search_letters), 200);

comment on function search_locator is 'A record locator or booking number as a key: upper case.';

-- The number of an identity document as a key.
create function search_document_number(number text) returns text
language sql stable parallel safe
return left(upper(regexp_replace(
    number,
    '[\u0001-\u002F\u00A0\u00AD\u2000-\u2015\u202A-\u202F\u2060\u2212\u3000\uFE58\uFE63\uFEFF\uFF0D]',
    '', 'g'
) collate search_letters), 200);

comment on function search_document_number is 'The number of an identity document as a key: upper case, without spaces, dashes and other ASCII punctuation.';

-- The keys of an event, each once; of an erased one those that are left.
create function ticket_event_keys(event ticket_events) returns table (kind text, key text)
language sql stable parallel safe rows 10
begin atomic
    select found.kind, found.key
    from (
        select 'class' as kind, event.environment || '/' || event.provider || '/' || event.status as key
        union
        select 'pnr', search_locator(locator)
        from unnest(event.airline_pnrs || array[event.pnr, event.gds_pnr, event.booking_number]) as locator
        union
        select 'ticket', left(number, 200) from unnest(event.ticket_numbers) as number
        union
        select 'name', word
        from jsonb_path_query(event.passengers, '$[*]') as passenger
        cross join unnest(search_name_words(
            concat_ws(' ', passenger ->> 'first_name', passenger ->> 'middle_name', passenger ->> 'last_name')
        )) as word
        union
        select 'document', search_document_number(number #>> '{}')
        from jsonb_path_query(event.passengers, '$[*].document.number') as number
    ) as found
    where found.key <> '';
end;

comment on function ticket_event_keys is 'What an event is found by: the rows that search_keys has or will have for it.';

-- for questions by booking
create index feed_notices_booking on feed_notices (booking_ref, provider, environment);
