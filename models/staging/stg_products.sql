with checked as (
    {{ perennial.checked('products') }}
)

select
    product_id,
    name,
    category,
    brand,
    price,
    unit_cost,
    description,
    ingested_at,
    first_ingested_at
from checked
where refusal is null
