with checked as (
    {{ perennial.checked('campaign_touches') }}
)

select
    touch_id,
    campaign_id,
    customer_id,
    sent_at,
    opened_at,
    clicked_at,
    is_holdout,
    propensity
from checked
where refusal is null
