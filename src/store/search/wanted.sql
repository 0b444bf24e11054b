-- How far the search keys go, and the wanted keys: record locator $1, ticket number $2, name $3, null for any; the rarest
-- first, where rare is counted up to $4.
select
    -- compiling would take longer than answering
    set_config('jit', 'off', true),
    (select position from consumers where name = 'search') as position,
    coalesce(array_agg(kind order by count, kind, key) filter (where kind is not null), '{}') as kinds,
    coalesce(array_agg(key order by count, kind, key) filter (where kind is not null), '{}') as keys
from (select) as one
left join lateral (
    select wanted.*, number.count
    from (
        select 'pnr' as kind, search_locator($1) as key where $1 is not null
        union
        select 'ticket', left($2, 200) where $2 is not null
        union
        -- a name without letters is no name: nothing has the empty key
        select 'name', word from unnest(coalesce(nullif(search_name_words($3), '{}'), '{""}')) as word
        where $3 is not null
    ) as wanted
    cross join lateral (
        select count(*) as count
        from (
            select from search_keys
            where search_keys.kind = wanted.kind and search_keys.key = wanted.key
            limit $4
        ) as some
    ) as number
) as wanted on true
