select
    customer_id,
    created_at,
    country,
    region,
    birth_date,
    gender,
    acquisition_channel,
    email_hash,
    marketing_consent,
    ingested_at,
    first_ingested_at
from {{ ref('checked_customers') }}
where refusal is null
