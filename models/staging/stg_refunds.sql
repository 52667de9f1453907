select
    refund_id,
    refunded_at,
    amount,
    order_id,
    customer_id,
    line_number,
    product_id,
    quantity,
    reason,
    ingested_at,
    first_ingested_at
from {{ ref('checked_refunds') }}
where refusal is null
