select
    article_id,
    title,
    body,
    product_id
from {{ ref('checked_knowledge_base') }}
where refusal is null
