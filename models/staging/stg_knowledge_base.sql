with checked as (
    {{ perennial.checked('knowledge_base') }}
)

select
    article_id,
    title,
    body,
    product_id
from checked
where refusal is null
