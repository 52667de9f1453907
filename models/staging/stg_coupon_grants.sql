select
    grant_id,
    coupon_code,
    customer_id,
    granted_at,
    campaign_id,
    redeemed_order_id,
    propensity
from {{ ref('checked_coupon_grants') }}
where refusal is null
