select
    coupon_code,
    kind,
    value,
    min_spend,
    audience,
    starts_at,
    ends_at,
    budget
from {{ ref('checked_coupons') }}
where refusal is null
