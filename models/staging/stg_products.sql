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
from {{ ref('checked_products') }}
where refusal is null
