select
    order_id,
    line_number,
    product_id,
    quantity,
    unit_price,
    discount_amount,
    ingested_at,
    first_ingested_at
from {{ ref('checked_order_items') }}
where refusal is null
