select
    campaign_id,
    name,
    channel,
    starts_at,
    ends_at,
    cost
from {{ ref('checked_campaigns') }}
where refusal is null
