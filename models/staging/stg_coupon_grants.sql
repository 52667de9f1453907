with checked as (
    {{ perennial.checked('coupon_grants') }}
)

select
    grant_id,
    coupon_code,
    customer_id,
    granted_at,
    campaign_id,
    redeemed_order_id,
    propensity
from checked
where refusal is null
