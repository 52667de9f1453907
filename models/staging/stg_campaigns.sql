with checked as (
    {{ perennial.checked('campaigns') }}
)

select
    campaign_id,
    name,
    channel,
    starts_at,
    ends_at,
    cost
from checked
where refusal is null
