select
    order_id,
    customer_id,
    ordered_at,
    status,
    coalesce(currency, '{{ perennial.setting('currency') }}') as currency,
    sales_channel,
    coupon_code,
    discount_amount,
    shipping_amount,
    tax_amount,
    ingested_at,
    first_ingested_at
from {{ ref('checked_orders') }}
where refusal is null
