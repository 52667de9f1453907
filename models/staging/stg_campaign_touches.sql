select
    touch_id,
    campaign_id,
    customer_id,
    sent_at,
    opened_at,
    clicked_at,
    is_holdout,
    propensity
from {{ ref('checked_campaign_touches') }}
where refusal is null
