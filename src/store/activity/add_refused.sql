insert into refused_requests (at, provider, reason, detail, path, client, request_id, requests)
select now() - make_interval(secs => age_seconds), provider, reason, detail, path, client, request_id, requests
from jsonb_to_recordset($1) as refused (
    age_seconds double precision, provider text, reason text, detail text, path text, client text, request_id text,
    requests bigint
)
