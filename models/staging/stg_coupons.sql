with checked as (
    {{ perennial.checked('coupons') }}
)

select
    coupon_code,
    kind,
    value,
    min_spend,
    audience,
    starts_at,
    ends_at,
    budget
from checked
where refusal is null
