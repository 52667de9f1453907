with checked as (
    {{ perennial.checked('order_items') }}
)

select
    order_id,
    line_number,
    product_id,
    quantity,
    unit_price,
    discount_amount,
    ingested_at,
    first_ingested_at
from checked
where refusal is null
